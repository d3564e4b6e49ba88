import io
import sys

import numpy as np
import pytest

from emonet_deploy.commands.predict.tables import Tables
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.pipeline.pipeline import FaceResult, FrameResult
from emonet_deploy.runtime.pipeline.predictor import Prediction

IMAGE = np.zeros((4, 4, 3), np.uint8)


def face(identity=0, expression="happy", valence=0.5, arousal=-0.25, box=(1.4, 2.6, 30, 40)):
    prediction = Prediction(
        expression, {"happy": 0.754, "sad": 0.246}, valence, arousal, np.zeros((68, 3), np.float32)
    )
    return FaceResult(identity, box, 0.9, prediction)


def picture(name, *faces):
    return FrameResult(Frame(IMAGE, name), faces)


def clip(name, time, *faces):
    return FrameResult(Frame(IMAGE, name, round(time * 25), time, 25.0), faces)


@pytest.fixture
def printed(capsys):
    """Print results; return the cells of each line."""

    def printed(*results):
        with Tables() as sink:
            for result in results:
                sink.append(result)
        return [line.split("\t") for line in capsys.readouterr().out.splitlines()]

    return printed


PICTURES = ["file", "face", "expression", "probability", "valence", "arousal", "box"]
CLIPS = ["file", "face", "frames", "from s", "to s", "expression", "share", "valence", "arousal"]


def test_a_picture_has_a_row_for_each_face(printed):
    assert printed(picture("a.png", face(), face(1, "sad", -1.0, 0.0)), picture("b.png")) == [
        PICTURES,
        ["a.png", "0", "happy", "0.75", "+0.500", "-0.250", "1 3 30 40"],
        ["a.png", "1", "sad", "0.25", "-1.000", "+0.000", "1 3 30 40"],
        ["b.png", "-", "no face", "-", "-", "-", "-"],
    ]


def test_an_identity_of_a_clip_has_a_row_of_means(printed):
    frames = [
        clip("c.mp4", 0.0, face(7, "happy", 0.1, 0.0)),
        clip("c.mp4", 0.5, face(7, "sad", 0.2, 0.3), face(2, "sad", -1.0, 1.0)),
        clip("c.mp4", 1.0, face(7, "happy", 0.6, 0.6)),
        clip("c.mp4", 1.5),
    ]
    assert printed(*frames) == [
        CLIPS,
        ["c.mp4", "2", "1", "0.50", "0.50", "sad", "100%", "-1.000", "+1.000"],
        ["c.mp4", "7", "3", "0.00", "1.00", "happy", "67%", "+0.300", "+0.300"],
    ]


def test_a_clip_without_a_face_says_how_many_frames_were_looked_at(printed):
    assert printed(clip("c.mp4", 0.0), clip("c.mp4", 0.04)) == [
        CLIPS,
        ["c.mp4", "-", "2", "no face", "-", "-", "-", "-", "-"],
    ]


def test_clips_and_pictures_follow_each_other_each_under_its_own_heads(printed):
    rows = printed(
        clip("c.mp4", 0.0, face()), clip("c.mp4", 0.1, face()),
        clip("d.mp4", 0.0, face(3)),
        picture("a.png", face()), picture("b.png", face()),
        clip("e.mp4", 0.0),
    )  # fmt: skip
    assert rows[0] == rows[6] == CLIPS
    assert rows[3] == PICTURES
    assert [row[:3] for row in rows[1:3]] == [["c.mp4", "0", "2"], ["d.mp4", "3", "1"]]
    assert [row[0] for row in rows[4:6]] == ["a.png", "b.png"]
    assert rows[7][:3] == ["e.mp4", "-", "1"]
    assert len(rows) == 8


def test_nothing_has_no_table(printed):
    assert printed() == []


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def heads(self):
        return [line.split()[0] for line in self.getvalue().splitlines() if "expression" in line]


def test_a_terminal_gets_tables_of_a_thousand_rows_as_they_fill(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with Tables() as sink:
        for _ in range(999):
            sink.append(picture("a.png", face()))
        assert terminal.getvalue() == ""
        sink.append(picture("a.png", face()))
        assert terminal.getvalue().count("a.png") == 1000
        assert len(terminal.heads()) == 1
        sink.append(picture("b.png", face()))
        assert "b.png" not in terminal.getvalue()
        sink.append(clip("c.mp4", 0.0, face()))
    assert len(terminal.heads()) == 3
    assert terminal.getvalue().index("b.png") < terminal.getvalue().index("c.mp4")
