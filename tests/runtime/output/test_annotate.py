import numpy as np
import pytest

from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.output.annotate import Annotator, enlarged
from emonet_deploy.runtime.output.palette import IDENTITIES
from emonet_deploy.runtime.pipeline.pipeline import FaceResult, FrameResult
from emonet_deploy.runtime.pipeline.predictor import Prediction


def result(height, width, *boxes, time=None, valence=0.5, arousal=0.5):
    points = np.zeros((68, 3), np.float32)
    faces = []
    for identity, (x0, y0, x1, y1) in enumerate(boxes):
        points = np.full((68, 3), ((x0 + x1) / 2, (y0 + y1) / 2, 1), np.float32)
        said = Prediction("happy", {"happy": 0.9, "sad": 0.1}, valence, arousal, points)
        faces.append(FaceResult(identity, (x0, y0, x1, y1), 0.9, said))
    grey = np.full((height, width, 3), 128, np.uint8)
    return FrameResult(Frame(grey, "clip", 0, time), tuple(faces))


def near(image, color, tolerance=30):
    return (np.abs(image.astype(int) - color).max(-1) <= tolerance).nonzero()


def test_the_frame_itself_is_untouched():
    one = result(360, 640, (200, 100, 300, 220))
    drawn = Annotator().draw(one)
    assert (one.frame.image == 128).all()
    assert drawn.shape == one.frame.image.shape
    assert drawn.dtype == np.uint8


def test_the_box_is_drawn_where_it_is():
    drawn = Annotator().draw(result(360, 640, (200, 100, 300, 220)))
    ys, xs = near(drawn[:, 180:310], IDENTITIES[0])
    assert abs(ys.max() - 219) <= 2
    assert abs(xs.min() + 180 - 200) <= 2
    # The middle of the face stays visible but for its landmarks.
    assert (drawn[170:210, 215:240] == 128).all()


def test_each_face_has_its_own_colour_and_landmarks_can_be_left_out():
    two = result(360, 640, (100, 100, 200, 220), (400, 100, 500, 220))
    drawn = Annotator().draw(two)
    for identity, (low, high) in ((0, (90, 210)), (1, (390, 510))):
        assert len(near(drawn[:, low:high], IDENTITIES[identity])[0]) > 200
        assert len(near(drawn[:, low:high], IDENTITIES[1 - identity], 10)[0]) == 0
    assert drawn[160, 150].min() > 200
    assert (Annotator(landmarks=False).draw(two)[160, 150] == 128).all()


@pytest.mark.parametrize("quadrant", [(0.6, 0.6), (-0.6, 0.6), (-0.6, -0.6), (0.6, -0.6)])
def test_the_circumplex_has_pleasant_on_the_right_and_intense_on_top(quadrant):
    drawn = Annotator().draw(
        result(360, 640, (200, 100, 300, 220), valence=quadrant[0], arousal=quadrant[1])
    )
    # The disc stands to the right of the box, at its lower end: light rim, dark ground.
    disc = drawn[150:230, 304:400]
    ys, xs = near(disc, (236, 236, 236), 60)
    centre = (ys.min() + ys.max()) / 2, (xs.min() + xs.max()) / 2
    dot_y, dot_x = (axis.mean() for axis in near(disc, IDENTITIES[0], 20))
    assert (dot_x > centre[1]) == (quadrant[0] > 0)
    assert (dot_y < centre[0]) == (quadrant[1] > 0)


def test_the_trail_shows_the_past_of_the_clip_only():
    annotator = Annotator(trail=1.0)
    fresh = Annotator().draw(result(360, 640, (200, 100, 300, 220), time=2.0))
    annotator.draw(result(360, 640, (200, 100, 300, 220), time=0.0, valence=-0.9))
    later = annotator.draw(result(360, 640, (200, 100, 300, 220), time=0.5))
    assert (later != fresh).any()
    assert (annotator.draw(result(360, 640, (200, 100, 300, 220), time=2.0)) == fresh).all()


@pytest.mark.parametrize(("height", "width"), [(90, 160), (360, 640), (2160, 3840)])
def test_labels_fit_small_and_large_frames(height, width):
    box = (0.3 * width, 0.3 * height, 0.5 * width, 0.7 * height)
    plain = result(height, width)
    drawn = Annotator().draw(result(height, width, box))
    changed = (drawn != Annotator().draw(plain)).any(-1)
    ys, xs = near(drawn, IDENTITIES[0], 10)
    label = drawn[ys.min() : int(box[1]) - 2, xs.min() : xs.max()]
    # Dark letters on the colour, neither too small to read nor filling the frame.
    dark = near(label, (24, 24, 24), 40)
    letters = np.ptp(dark[0]) + 1
    assert letters >= 6
    assert letters <= max(24, height / 5)
    # The face itself is not painted over.
    x0, y0, x1, y1 = (round(side) for side in box)
    inner = changed[(y0 + y1) // 2 + 4 : y1 - (y1 - y0) // 5, x0 + (x1 - x0) // 4 : (x0 + x1) // 2]
    assert height < 100 or inner.mean() < 0.2


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 640, 360),
        (-50, -40, 30, 50),
        (600, 330, 700, 400),
        (0, 0, 3, 3),
        (900, 900, 990, 999),
    ],
)
def test_faces_at_the_border_and_beyond(box):
    drawn = Annotator().draw(result(360, 640, box))
    assert (drawn != 128).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (36, 64)])
def test_frames_too_small_for_anything(shape):
    assert Annotator().draw(result(*shape, (0, 0, shape[1], shape[0]))).shape == (*shape, 3)


def test_small_pictures_are_enlarged_with_all_that_is_in_them():
    small = result(64, 48, (10, 20, 30, 40))
    large = enlarged(small)
    assert large.frame.image.shape == (64 * 7, 48 * 7, 3)
    assert large.faces[0].box == (70, 140, 210, 280)
    np.testing.assert_allclose(
        large.faces[0].prediction.landmarks[0, :2], (20.5 * 7 - 0.5, 30.5 * 7 - 0.5)
    )
    assert enlarged(result(500, 500)).frame.image.shape == (500, 500, 3)
    assert enlarged(result(3000, 1)).frame.image.shape == (3000, 1, 3)


def marks(boxes, height=333, width=500, **options):
    """What is drawn over a grey picture besides the boxes' frames."""
    drawn = Annotator(landmarks=False, **options).draw(result(height, width, *boxes))
    return (drawn != 128).any(-1)


GROUP = [
    (266, 153, 316, 219), (343, 143, 396, 210), (158, 118, 206, 178), (111, 34, 153, 87),
    (219, 108, 258, 156),
]  # fmt: skip
ROW = [(10 + 61 * i, 60, 10 + 61 * i + 55, 130) for i in range(8)]


@pytest.mark.parametrize("boxes", [GROUP, ROW])
def test_no_label_or_disc_covers_a_face(boxes):
    changed = marks(boxes)
    for x0, y0, x1, y1 in boxes:
        assert not changed[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4].any()


@pytest.mark.parametrize("boxes", [GROUP, ROW])
def test_every_label_is_whole(boxes):
    """Each face's colour fills as large a place as if it were alone."""
    together = Annotator(landmarks=False).draw(result(333, 500, *boxes))
    for identity in range(min(len(boxes), len(IDENTITIES))):
        _, columns = np.unique(near(together, IDENTITIES[identity], 0)[0], return_counts=True)
        # A label is at least a line of letters high and a short word wide.
        assert (columns >= 25).sum() >= 12, identity


def test_a_crop_that_is_all_face_keeps_its_middle_free():
    changed = marks([(0, 0, 112, 112)], 112, 112)
    assert not changed[30:108, 4:108].any()
    assert changed[:30].any()


@pytest.mark.parametrize("side", [1e9, 1e15, 1e300])
def test_boxes_without_measure_are_drawn_as_far_as_the_picture_goes(side):
    assert marks([(-side, -side, side, side)]).any()
