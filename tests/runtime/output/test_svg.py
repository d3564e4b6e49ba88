from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from emonet_deploy.runtime.output.svg import Circle, Line, Rectangle, Text, as_svg, write_png

INK = (200, 30, 30)


def drawn(path: Path, *shapes):
    """Where ink is, in the shapes' units: left, top, right, bottom."""
    write_png(path, 200, 100, shapes)
    picture = cv2.imread(str(path))
    assert picture.shape == (200, 400, 3)
    ys, xs = (picture.min(-1) < 160).nonzero()
    return tuple(round(v / 2) for v in (xs.min(), ys.min(), xs.max(), ys.max()))


def test_shapes_stand_at_the_same_place_in_both_formats(tmp_path):
    path = tmp_path / "x.png"
    assert drawn(path, Rectangle(20, 30, 40, 10, INK)) == (20, 30, 60, 40)
    assert drawn(path, Circle(100, 50, 20, INK)) == (80, 30, 120, 70)
    assert drawn(path, Line(np.array([[10.0, 20.0], [90.0, 20.0]]), INK, 2.0))[::2] == (9, 91)
    left, top, right, bottom = drawn(path, Text(50, 60, "HHH", 15, INK))
    assert abs(left - 50) <= 2
    assert abs(bottom - 60) <= 1
    assert right - left > bottom - top
    root = ElementTree.fromstring(as_svg(200, 100, [Circle(100, 50, 20, INK, width=2)]))
    (circle,) = root.iter("{http://www.w3.org/2000/svg}circle")
    assert (circle.get("cx"), circle.get("r"), circle.get("fill")) == ("100.0", "20", "none")


def test_text_goes_upwards_from_its_point(tmp_path):
    left, top, right, bottom = drawn(
        tmp_path / "x.png", Text(100, 80, "HHHH", 15, INK, upwards=True)
    )
    assert bottom - top > right - left
    assert abs(right - 100) <= 1
    assert abs(bottom - 80) <= 2


def test_text_is_escaped_and_readable_whatever_the_name():
    text = as_svg(
        9, 9, [Text(0, 0, "<a> & caf\udce9", 9, INK), Rectangle(0, 0, 1, 1, INK, "\udce9")]
    )
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert "<a> & caf\\xe9" in "".join(root.itertext())
