from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.fake_session import FakeSession

from emonet_deploy.commands.predict.options import Clips, Faces, Outputs
from emonet_deploy.commands.predict.run import prepare, run_predict
from emonet_deploy.commands.process.exit_codes import ExitCode
from emonet_deploy.errors import InputError

CROPS = Faces(detector="none")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, height=256, width=256):
    cv2.imwrite(name, np.full((height, width, 3), 127, np.uint8))
    return name


def job(*names, faces=CROPS, clips=None, **outputs):
    return prepare(names, None, faces, clips or Clips(), Outputs(**outputs))


def run(*names, **options):
    session = FakeSession()
    return run_predict(job(*names, **options), session), session


def test_without_inputs_nothing_is_begun(here):
    with pytest.raises(InputError, match="no input named"):
        job()
    assert prepare((), 0, CROPS, Clips(), Outputs()).camera == 0


def test_a_file_that_is_named_twice_is_read_once(here):
    write("a.png")
    (here / "b.png").symlink_to("a.png")
    assert [source.path for source in job("a.png", "b.png", "./a.png").sources] == [Path("a.png")]


def test_what_is_missing_stops_a_run_only_where_nothing_else_is_there(here, capsys):
    with pytest.raises(InputError, match=r"b\.png"):
        job("b.png", "c.png")
    write("a.png")
    code, _ = run("a.png", "b.png")
    assert code == ExitCode.ERROR
    assert "1 of 2 inputs could not be read" in capsys.readouterr().err
    assert run("a.png")[0] == ExitCode.OK


def test_eight_faces_are_run_at_once_unless_told_otherwise(here):
    names = [write(f"{i}.png") for i in range(9)]
    session = FakeSession()
    assert run_predict(job(*names), session) == 0
    assert max(session.batches) <= 8
    assert sum(session.batches) == 9
    single = FakeSession()
    run_predict(job(*names), single, 1)
    assert single.batches == [1] * 9


@pytest.mark.parametrize(
    ("width", "size", "hint"),
    [(3840, None, False), (3841, None, True), (192, 32, False), (200, 32, True),
     (6000, 1000, False)],
)  # fmt: skip
def test_a_hint_follows_where_faces_were_searched_in_less_than_a_sixth(
    here, capsys, width, size, hint
):
    faces = Faces(detector="centerface", detect_size=size)
    assert run(write("a.png", 32, width), faces=faces)[0] == 0
    assert ("--detect-size" in capsys.readouterr().err) == hint


def test_no_hint_where_faces_were_not_searched(here, capsys):
    write("a.png", 32, 8000)
    assert run("a.png")[0] == 0
    (here / "b.csv").write_text("file,x0,y0,x1,y1\na.png,0,0,32,32\n")
    assert run("a.png", faces=Faces(boxes=here / "b.csv"))[0] == 0
    assert "--detect-size" not in capsys.readouterr().err


def test_the_largest_shrinkage_counts_whichever_comes_first(here, capsys):
    names = [write("a.png", 32, 8000), write("b.png", 32, 32)]
    run(*names, faces=Faces(detector="centerface"))
    # 8000 pixels in 640.
    assert "up to 12 times smaller" in capsys.readouterr().err


def test_a_timeline_is_of_one_clip(here, data):
    write("a.png")
    clip = str(data / "field" / "steady.mp4")
    for names in (("a.png",), (clip, "a.png")):
        with pytest.raises(InputError, match="one video"):
            job(*names, timeline=here / "t.svg")
    assert job(clip, timeline=here / "t.svg").outputs.timeline == here / "t.svg"
    camera = prepare((), 0, CROPS, Clips(), Outputs(timeline=here / "t.svg"))
    assert camera.camera == 0
    with pytest.raises(InputError, match="one video"):
        prepare((clip,), 0, CROPS, Clips(), Outputs(timeline=here / "t.svg"))


def test_an_output_that_is_read_or_exists_is_refused(here):
    write("a.png")
    with pytest.raises(InputError, match=r"a\.png"):
        job("a.png", csv=here / "a.png", force=True)
    (here / "t.csv").write_text("older")
    with pytest.raises(InputError, match=r"t\.csv"):
        job("a.png", csv=here / "t.csv")
    assert job("a.png", csv=here / "t.csv", force=True).outputs.force


@pytest.mark.parametrize("landmarks", [False, True])
def test_landmarks_are_written_where_they_were_asked_for(here, landmarks):
    write("a.png")
    names = {"json": "r.json", "jsonl": "r.jsonl", "csv": "r.csv"}
    code, _ = run(
        "a.png", landmarks=landmarks, **{kind: here / name for kind, name in names.items()}
    )
    assert code == 0
    # 68 points of three numbers take more room than all the rest.
    assert {len((here / name).read_text()) > 1500 for name in names.values()} == {landmarks}


def test_classes_of_a_table_are_those_of_the_model(here):
    write("a.png")
    for nclass, absent in ((5, True), (8, False)):
        table = here / f"{nclass}.csv"
        run_predict(job("a.png", csv=table), FakeSession(nclass=nclass))
        assert ("contempt" not in table.read_text()) == absent


def test_boxes_of_no_file_that_is_read_are_refused_and_unused_ones_an_error(here, capsys):
    write("a.png")
    (here / "b.csv").write_text("file,x0,y0,x1,y1\na.png,300,300,400,400\n")
    faces = Faces(boxes=here / "b.csv")
    assert run("a.png", faces=faces)[0] == ExitCode.ERROR
    assert "error: " in capsys.readouterr().err
    (here / "b.csv").write_text("file,x0,y0,x1,y1\nz.png,0,0,40,40\n")
    with pytest.raises(InputError, match=r"b\.csv|z\.png"):
        job("a.png", faces=faces)


def test_a_job_is_run_as_it_was_prepared(here):
    write("a.png")
    prepared = job("a.png", jsonl=here / "r.jsonl")
    assert prepared.copies == {}
    assert run_predict(replace(prepared, sources=[*prepared.sources] * 2), FakeSession()) == 0
    assert len((here / "r.jsonl").read_text().splitlines()) == 2
