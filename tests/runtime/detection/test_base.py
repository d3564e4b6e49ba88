import numpy as np
import pytest

from emonet_deploy.runtime.detection.base import Detection, network_size, shrinkage
from emonet_deploy.runtime.media.frame import Frame


def frame(width, height, time=None):
    return Frame(np.zeros((height, width, 3), np.uint8), time=time)


@pytest.mark.parametrize(
    ("width", "height", "time", "size", "seen"),
    [
        (1280, 720, None, None, (640, 360)),  # a still picture may show many people
        (1280, 720, 0.0, None, (384, 216)),  # in a clip speed counts
        (720, 1280, 0.0, None, (216, 384)),
        (1280, 720, 0.0, 320, (320, 180)),
        (1280, 720, None, 1280, (1280, 720)),
        (640, 480, None, None, (640, 480)),
        (384, 383, 0.0, None, (384, 383)),
        (100, 50, None, 640, (100, 50)),  # never enlarged
        (5000, 3, None, None, (640, 1)),  # 0.384 of a pixel
        (3, 5000, 0.0, None, (1, 384)),
    ],
)
def test_a_network_sees_a_picture_in_its_shape_and_no_larger_than_wanted(
    width, height, time, size, seen
):
    given = frame(width, height, time)
    assert network_size(given, size) == seen
    assert shrinkage(given, size) == pytest.approx(max(width, height) / max(seen))


def test_a_detection_is_sure_and_upright_and_to_be_cropped_unless_told_otherwise():
    found = Detection((0.0, 0.0, 9.0, 9.0), 0.9)
    assert (found.faint, found.ready, found.turns) == (False, False, 0)
