import gc
import threading
import weakref
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.clips import FPS, film, write_film
from helpers.fake_session import FakeSession

from emonet_deploy.errors import BackendError, InputError
from emonet_deploy.runtime import EmotionPipeline, Frame, Predictor, Tracker, WindowSmoother
from emonet_deploy.runtime.detection.base import Detection
from emonet_deploy.runtime.detection.without_search import WholePicture
from emonet_deploy.runtime.media.video import VideoReader
from emonet_deploy.runtime.pipeline.prefetch import prefetch
from emonet_deploy.runtime.pipeline.preprocess import crop_face


class Squares:
    """Finds as many faces in frame i as ``counts[i]`` says."""

    def __init__(self, counts):
        self.counts = counts

    def detect(self, frame):
        return [
            Detection((10.0 + 40 * i, 10.0, 40.0 + 40 * i, 50.0), 0.9)
            for i in range(self.counts[frame.index])
        ]


def grey_frames(count, shape=(64, 400), fps=None):
    for i in range(count):
        image = np.full((*shape, 3), i % 256, np.uint8)
        yield Frame(image, "clip", i, None if fps is None else i / fps, fps)


def fake_pipeline(detector, batch=8, session=None, **options):
    return EmotionPipeline(Predictor(session or FakeSession(), batch), detector, **options)


def test_every_frame_comes_out_once_in_order_with_all_its_faces():
    counts = [int(n) for n in np.random.default_rng(0).integers(0, 12, 100)]
    results = list(fake_pipeline(Squares(counts), crop="stretch").run(grey_frames(100)))
    assert [result.frame.index for result in results] == list(range(100))
    assert [len(result.faces) for result in results] == counts
    for result in results:
        # The fake session answers with the crop's mean: each face got its own frame's answer.
        expected = 2 * result.frame.index / 255 - 1
        for face in result.faces:
            assert face.prediction.valence == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((64, 400, 3), np.uint8),
        np.zeros((64, 400), np.uint8),
        Frame(np.zeros((64, 400, 3), np.uint8)),
        "photo.jpg",
        Path("photo.jpg"),
    ],
)
def test_one_picture_is_not_taken_for_as_many_as_it_has_rows(given):
    with pytest.raises(InputError, match=r"give \[image\] for one picture"):
        next(fake_pipeline(Squares([1])).run(given))


@pytest.mark.parametrize(
    ("given", "told"), [(None, "not None; read"), ("a.jpg", "not a file's name"), (7, "one value")]
)
def test_what_is_no_picture_among_several_is_told(given, told):
    with pytest.raises(InputError, match=told):
        next(fake_pipeline(Squares([1])).run([given]))


def test_an_array_of_several_pictures_is_several():
    several = np.zeros((3, 64, 400, 3), np.uint8)
    assert len(list(fake_pipeline(Squares([1, 1, 1])).run(several))) == 3
    assert len(list(fake_pipeline(Squares([1, 1, 1])).run(several[..., 0]))) == 3


def test_five_channels_are_no_picture_but_five_columns():
    assert len(list(fake_pipeline(Squares([0, 0])).run(np.zeros((2, 16, 5), np.uint8)))) == 2
    with pytest.raises(InputError, match=r"give \[image\]"):
        next(fake_pipeline(Squares([0, 0])).run(np.zeros((2, 16, 4), np.uint8)))


def test_faces_of_several_frames_share_a_batch():
    session = FakeSession()
    list(fake_pipeline(Squares([1] * 50), 8, session).run(grey_frames(50)))
    assert session.batches == [8] * 6 + [2]


def test_frames_without_faces_do_not_pile_up_behind_one_that_waits():
    counts = [1] + [0] * 5000
    born = 0

    def counted():
        nonlocal born
        for frame in grey_frames(5001, (8, 64)):
            born += 1
            yield frame

    with closing(fake_pipeline(Squares(counts)).run(counted())) as results:
        next(results)
        assert born < 100


def test_no_more_than_a_few_frames_are_alive_at_a_time():
    alive = weakref.WeakSet()
    most = 0

    def watched():
        for frame in grey_frames(400, fps=25):
            alive.add(frame)
            yield frame

    for _ in fake_pipeline(Squares([2] * 400), tracker=Tracker()).run(watched()):
        most = max(most, len(alive))
    assert most <= 40
    gc.collect()
    assert len(alive) <= 1


def test_live_frames_do_not_wait_for_a_full_batch():
    session = FakeSession()
    step = threading.Semaphore(1)

    def camera():
        for frame in grey_frames(10):
            assert step.acquire(timeout=20)
            yield frame

    seen = []
    for result in fake_pipeline(Squares([1] * 10), 8, session, live=True).run(camera()):
        seen.append(result.frame.index)
        step.release()
    assert seen == list(range(10))
    assert session.batches == [1] * 10


def test_an_error_in_any_stage_reaches_the_caller_after_the_results_before_it():
    def breaking():
        yield from grey_frames(3)
        raise InputError("the reader broke")

    results = fake_pipeline(Squares([0] * 3)).run(breaking())
    assert [next(results).frame.index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="the reader broke"):
        next(results)
    with pytest.raises(IndexError):
        list(fake_pipeline(Squares([])).run(grey_frames(1)))

    class Broken(FakeSession):
        def _run(self, images):
            raise BackendError("the backend broke")

    with pytest.raises(BackendError, match="the backend broke"):
        list(fake_pipeline(Squares([1] * 9), session=Broken()).run(grey_frames(9)))


def test_stopping_early_ends_every_thread_and_closes_the_input():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield Frame(np.zeros((64, 64, 3), np.uint8))
        finally:
            closed.set()

    before = threading.active_count()
    results = fake_pipeline(WholePicture()).run(endless())
    next(results)
    results.close()
    assert closed.is_set()
    assert threading.active_count() == before


def test_landmarks_and_boxes_are_in_pixels_of_the_frame():
    class Corner(FakeSession):
        """Sees every landmark in the same place of the crop, the heatmap's pixel (16, 40)."""

        def _run(self, images):
            outputs = super()._run(images)
            outputs["heatmap"][:] = 0
            outputs["heatmap"][:, :, 40, 16] = 1
            return outputs

    image = np.zeros((200, 300, 3), np.uint8)
    for crop in ("paper", "stretch"):
        pipeline = fake_pipeline(Squares([1]), session=Corner(), crop=crop)
        (result,) = pipeline.run([Frame(image)])
        (face,) = result.faces
        assert face.box == (10, 10, 40, 50)
        _, matrix = crop_face(image, face.box, crop)
        x, y, _ = face.prediction.landmarks[5].tolist()
        # Four crop pixels stand for one of the heatmap's.
        at = matrix @ (x, y, 1)
        np.testing.assert_allclose(at, (16 * 4 + 1.5, 40 * 4 + 1.5), atol=1e-3)
    # By hand, for the stretched crop: a quarter of the box from the left, 5/8 from the top.
    assert (x, y) == pytest.approx((10 + 30 * 66 / 256 - 0.5, 10 + 40 * 162 / 256 - 0.5), abs=0.01)


def test_the_shortest_use_is_a_session_and_arrays():
    from skimage import data

    grey = data.astronaut().mean(-1).astype(np.uint8)
    results = list(EmotionPipeline(FakeSession()).run([data.astronaut(), grey]))
    assert [result.frame.index for result in results] == [0, 1]
    assert [len(result.faces) for result in results] == [1, 1]


def test_a_clip_is_tracked_and_smoothed_and_a_picture_is_not():
    def run(fps):
        pipeline = fake_pipeline(Squares([1] * 30), tracker=Tracker(), smoother=WindowSmoother())
        return [r.faces[0].prediction.valence for r in pipeline.run(grey_frames(30, fps=fps))]

    plain, smoothed = np.array(run(None)), np.array(run(25))
    weights = np.array([0.1, 0.1, 0.15, 0.25, 0.4])
    np.testing.assert_allclose(smoothed[10], weights @ plain[6:11], atol=1e-6)


def test_the_faces_of_a_second_clip_are_not_smoothed_with_those_of_the_first():
    def two_clips():
        for name, level in (("a", 0), ("b", 250)):
            for i in range(3):
                yield Frame(np.full((64, 400, 3), level, np.uint8), name, i, i / 25, 25.0)

    stages = {"tracker": Tracker(), "smoother": WindowSmoother(), "crop": "stretch"}
    pipeline = fake_pipeline(Squares([1] * 3), **stages)
    said = [result.faces[0].prediction.valence for result in pipeline.run(two_clips())]
    # The fake session answers with the picture's mean.
    np.testing.assert_allclose(said, [-1] * 3 + [2 * 250 / 255 - 1] * 3, atol=1e-3)


def test_without_a_tracker_a_face_is_called_by_its_place_and_faint_ones_are_dropped():
    class Faint(Squares):
        def detect(self, frame):
            first, *others = super().detect(frame)
            return [first, replace(others[0], faint=True), *others[1:]]

    for options in ({}, {"tracker": Tracker()}):
        results = fake_pipeline(Faint([3, 3]), **options).run(grey_frames(2, fps=25))
        assert [[face.identity for face in result.faces] for result in results] == [[0, 1]] * 2
    (still,) = fake_pipeline(Faint([3]), tracker=Tracker()).run(grey_frames(1))
    assert [face.box[0] for face in still.faces] == [10, 90]


def test_a_film_from_a_file_keeps_every_frame_and_identity(tmp_path):
    """The short form of the test on 2,000 frames below."""
    check_film(tmp_path, 200)


@pytest.mark.slow
def test_a_long_film_keeps_every_frame_and_identity_in_flat_memory(tmp_path):
    check_film(tmp_path, 2000)


def check_film(folder, frames):
    from emonet_deploy.runtime.detection.iou import box_iou

    class TruthOrDetector:
        """Detection is tested elsewhere: here it is the truth with a detector's jitter."""

        def __init__(self, truths):
            self.truths, self.rng = truths, np.random.default_rng(0)

        def detect(self, frame):
            return [
                Detection(tuple(box + self.rng.normal(0, 2, 4)), 0.9)
                for box in self.truths[frame.index].values()
                if self.rng.random() > 0.03
            ]

    truths = write_film(folder / "film.mp4", frames)
    pipeline = fake_pipeline(TruthOrDetector(truths), tracker=Tracker())
    indices, given, start = [], {0: [], 1: []}, 0
    for result in pipeline.run(VideoReader(folder / "film.mp4")):
        indices.append(result.frame.index)
        truth = truths[result.frame.index]
        if result.faces and truth:
            table = box_iou(list(truth.values()), [face.box for face in result.faces])
            for actor, row in zip(truth, table, strict=True):
                if row.max() > 0.3:
                    given[actor].append(result.faces[int(row.argmax())].identity)
        if result.frame.index == min(200, frames // 2):
            start = resident_mb()
    assert indices == list(range(frames))
    assert resident_mb() - start < 50
    for actor, identities in given.items():
        assert len(identities) > 0.9 * sum(actor in truth for truth in truths)
        assert np.mean(np.array(identities) == identities[0]) >= 0.95
    assert given[0][0] != given[1][0]


def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def test_the_film_is_what_it_claims():
    """Two actors, of whom one is away for a while; the tests above rest on it."""
    present = [set(truth) for _, truth in film(100)]
    assert present[0] == {0, 1}
    assert {0} in present[40:60]
    assert present[-1] == {0, 1}
    assert FPS == 25


def test_prefetch_keeps_order_and_drops_the_oldest_only_when_asked():
    assert list(prefetch(range(100), 3)) == list(range(100))
    started, go = threading.Event(), threading.Event()

    def source():
        yield 0
        assert started.wait(20)
        yield from range(1, 50)
        go.set()

    items = prefetch(source(), 1, latest=True)
    assert next(items) == 0
    started.set()
    assert go.wait(20)
    rest = list(items)
    assert len(rest) < 49
    assert rest == sorted(rest)
