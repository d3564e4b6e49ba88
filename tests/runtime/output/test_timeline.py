import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.output.timeline import TimelineSink
from emonet_deploy.runtime.pipeline.pipeline import FaceResult, FrameResult
from emonet_deploy.runtime.pipeline.predictor import Prediction

NAMES = ("neutral", "happy", "sad")
SVG = "{http://www.w3.org/2000/svg}"
BLANK = np.zeros((1, 1, 3), np.uint8)


def result(index, *faces, source="a <b> & c.mp4", time=True):
    made = tuple(
        FaceResult(
            identity, (0, 0, 1, 1), 1.0,
            Prediction(name, dict.fromkeys(NAMES, 0.3), valence, arousal, np.zeros((68, 3))),
        )
        for identity, name, valence, arousal in faces
    )  # fmt: skip
    return FrameResult(Frame(BLANK, source, index, index / 10 if time else None, 10.0), made)


def clip(count=100):
    for i in range(count):
        faces = [(0, "happy" if i < count // 2 else "sad", -1 + 2 * i / (count - 1), 0.5)]
        if not count * 0.3 <= i < count * 0.6:
            faces.append((1, "neutral", 0.0, -0.5))
        yield result(i, *faces)


def draw(path, results):
    with TimelineSink(path) as sink:
        for one in results:
            sink.append(one)


def lines(root):
    """Polylines that are no grid, as arrays of points."""
    for element in root.iter(f"{SVG}polyline"):
        if element.get("stroke") != "#dedede":
            points = element.get("points").split()
            yield element.get("stroke"), np.array([p.split(",") for p in points], float)


def test_the_svg_shows_each_face_where_and_when_it_was(tmp_path):
    draw(tmp_path / "t.svg", clip())
    root = ET.parse(tmp_path / "t.svg").getroot()
    drawn = list(lines(root))
    # Face 0: one valence line and one arousal line; face 1: two of each, with a gap.
    colours = [colour for colour, _ in drawn]
    assert sorted(colours.count(c) for c in set(colours)) == [2, 4]
    rising = drawn[0][1]
    assert (np.diff(rising[:, 0]) > 0).all()
    # From -1 to 1: a straight line up the whole panel.
    assert rising[0, 1] - rising[-1, 1] == pytest.approx(150, abs=0.2)
    slope = np.polyfit(rising[:, 0], rising[:, 1], 1)
    np.testing.assert_allclose(np.polyval(slope, rising[:, 0]), rising[:, 1], atol=0.2)
    ends = [points[[0, -1], 0] for colour, points in drawn if colours.count(colour) == 4]
    assert ends[0][1] < ends[1][0]
    tips = [tip.text for tip in root.iter(f"{SVG}title")]
    assert "happy, 0.00 to 5.00 s" in tips
    assert "sad, 5.00 to 9.90 s" in tips


def test_a_long_clip_is_thinned(tmp_path):
    draw(tmp_path / "t.svg", clip(20_000))
    root = ET.parse(tmp_path / "t.svg").getroot()
    assert all(len(points) <= 1001 for _, points in lines(root))
    assert (tmp_path / "t.svg").stat().st_size < 200_000


def test_png_and_page(tmp_path):
    draw(tmp_path / "t.png", clip())
    picture = cv2.imread(str(tmp_path / "t.png"))
    assert picture.shape[1] == 2000
    assert (picture != 255).any()
    draw(tmp_path / "t.html", clip())
    page = (tmp_path / "t.html").read_text()
    assert "a &lt;b&gt; &amp; c.mp4" in page
    assert "<b>" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("frames", [1, 3])
def test_a_clip_without_faces_or_of_one_frame(tmp_path, frames):
    draw(tmp_path / "t.svg", map(result, range(frames)))
    assert "no face in this clip" in (tmp_path / "t.svg").read_text()
    draw(tmp_path / "one.svg", [result(0, (0, "sad", 0.1, 0.2))])
    ET.parse(tmp_path / "one.svg")


def test_what_has_no_timeline_is_refused(tmp_path):
    with pytest.raises(InputError, match="one video"):
        draw(tmp_path / "t.svg", [result(0, time=False)])
    with pytest.raises(InputError, match="one video"):
        draw(tmp_path / "t.svg", [*clip(3), result(0, source="another.mp4")])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"ends in \.svg"):
        TimelineSink(tmp_path / "t.pdf")
