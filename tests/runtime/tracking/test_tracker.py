from collections import Counter

import numpy as np
import pytest
from helpers.clips import FPS, film

from emonet_deploy.emonet_ref.synthetic.faces import draw_face
from emonet_deploy.runtime.detection.base import Detection
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.tracking.appearance import colour_likeness, describe_colours
from emonet_deploy.runtime.tracking.tracker import Tracker


def test_identities_hold_in_a_film_with_one_leaving_and_returning():
    """Boxes jitter and are missed now and then, as a detector's are."""
    rng = np.random.default_rng(1)
    tracker = Tracker()
    given = {0: Counter(), 1: Counter()}
    for index, (image, truth) in enumerate(film(200)):
        actors = [actor for actor in truth if rng.random() > 0.05]
        found = [Detection(tuple(truth[a] + rng.normal(0, 2, 4)), 0.9) for a in actors]
        identities = tracker.update(Frame(image, "film", index, index / FPS), found)
        for actor, identity in zip(actors, identities, strict=True):
            given[actor][identity] += 1
    [(first, right), (second, also)] = [given[actor].most_common(1)[0] for actor in (0, 1)]
    assert first != second
    assert right >= 0.95 * given[0].total()
    # Actor 1 was away for a third of the film.
    assert also >= 0.95 * given[1].total()


def test_faces_that_cross_keep_their_identities():
    people = [draw_face(0, 0, 0, np.random.default_rng(who), size=64).image for who in (3, 5)]
    tracker = Tracker()
    for index in range(60):
        image = np.full((100, 400, 3), 128, np.uint8)
        xs = (20 + 5 * index, 320 - 5 * index)
        for x, person in zip(xs, people, strict=True):
            image[20:84, x : x + 64] = person
        # Where one hides the other, a detector finds one face.
        visible = (0, 1) if abs(xs[0] - xs[1]) > 30 else (1,)
        found = [Detection((xs[a], 20.0, xs[a] + 64.0, 84.0), 0.9) for a in visible]
        identities = tracker.update(Frame(image, "x", index, index / 25), found)
    assert identities == [0, 1]


def still(images):
    """A frame with face pictures of 64 pixels side by side, and their boxes."""
    image = np.hstack([np.full((64, 16, 3), 90, np.uint8), *images])
    boxes = [(16.0 + 64 * i, 1.0, 79.0 + 64 * i, 63.0) for i in range(len(images))]
    return image, [Detection(box, 0.9) for box in boxes]


@pytest.fixture(scope="module")
def people():
    return [draw_face(1, 0.3, 0.3, np.random.default_rng(who), size=64).image for who in range(4)]


def watch(tracker, people, times, source="clip"):
    image, found = still(people)
    for time in times:
        identities = tracker.update(Frame(image, source, 0, time), found)
    return identities


def test_a_newcomer_is_not_taken_for_the_one_who_left(people):
    tracker = Tracker()
    assert watch(tracker, people[:1], np.arange(0, 2, 0.1)) == [0]
    assert watch(tracker, people[1:2], np.arange(4, 6, 0.1)) == [1]
    assert watch(tracker, people[:1], np.arange(8, 10, 0.1)) == [0]


def test_a_face_is_forgotten_after_the_memory(people):
    tracker = Tracker(memory=5)
    watch(tracker, people[:1], [0.0, 0.1])
    assert watch(tracker, people[:1], [4.0]) == [0]
    assert watch(tracker, people[:1], [9.5]) == [1]
    without = Tracker(memory=0)
    watch(without, people[:1], [0.0, 0.1])
    assert watch(without, people[:1], [2.0]) == [1]


def test_a_short_gap_is_bridged_without_looks(people):
    tracker = Tracker(memory=0)
    watch(tracker, people[:1], [0.0, 0.1])
    assert watch(tracker, people[:1], [0.9]) == [0]


def test_another_clip_starts_anew(people):
    tracker = Tracker()
    watch(tracker, people[:2], [0.0, 0.1], "first")
    # Later and somebody else: only the numbering tells that the first clip is over.
    assert watch(tracker, people[2:3], [10.0], "second") == [0]


def test_a_faint_detection_counts_only_where_a_face_was(people):
    image, (sure,) = still(people[:1])
    tracker = Tracker()
    faint = Detection(sure.box, 0.2, faint=True)
    assert tracker.update(Frame(image, "x", 0, 0.0), [faint]) == [None]
    assert tracker.update(Frame(image, "x", 1, 0.1), [sure]) == [0]
    assert tracker.update(Frame(image, "x", 2, 0.2), [faint]) == [0]


def test_an_endless_stream_of_passers_by_does_not_pile_up(people):
    tracker = Tracker(max_gap=1e9, memory=1e9)
    rng = np.random.default_rng(0)
    for index in range(150):
        image = rng.integers(0, 255, (64, 64, 3), np.uint8)
        x = 1000.0 * index
        tracker.update(Frame(image, "x", index, index), [Detection((x, 0.0, x + 9, 9.0), 0.9)])
    assert len(tracker._tracks) <= 64


def test_looks_tell_people_apart_and_survive_size_and_expression():
    import cv2

    box = (60.0, 40.0, 200.0, 220.0)
    before, after = [], []
    for who in range(12):
        calm = draw_face(0, 0, 0, np.random.default_rng((1, who))).image
        laughing = draw_face(1, 0.8, 0.4, np.random.default_rng((1, who))).image
        small = cv2.resize(laughing, (90, 90), interpolation=cv2.INTER_AREA)
        before.append(describe_colours(calm, box))
        after.append(describe_colours(small, tuple(np.array(box) * 90 / 256)))
    table = np.array([[colour_likeness(a, b) for b in after] for a in before])
    assert (table.argmax(1) == np.arange(12)).all()
    assert np.diag(table).min() > 0.96


@pytest.mark.parametrize("box", [(-50, -50, -10, -10), (0, 0, 0, 0), (5000, 5000, 6000, 6000)])
def test_boxes_outside_the_frame_have_looks_too(box):
    looks = describe_colours(np.zeros((20, 30, 3), np.uint8), box)
    np.testing.assert_allclose(looks.sum(1), 1, atol=1e-5)


def plain(level=128, shape=(100, 400)):
    return np.full((*shape, 3), level, np.uint8)


def at(time, *boxes, image=None, source="clip"):
    """The arguments of an update: boxes in a picture without any structure."""
    frame = Frame(plain() if image is None else image, source, 0, time)
    return frame, [Detection(tuple(map(float, box)), 0.9) for box in boxes]


def test_numbers_begin_at_0_for_frames_without_a_source_too():
    assert Tracker().update(*at(0.0, (10, 10, 50, 50), source="")) == [0]


@pytest.mark.parametrize("jitter", [0, 2])
def test_an_unseen_face_is_expected_where_its_motion_leads(jitter):
    """100 pixels a second to the right, 50 up; the last box lies a little off."""
    step = np.array([4, -2, 4, -2])

    def place(frame):
        return np.array([20, 300, 60, 340]) + frame * step

    def followed():
        tracker = Tracker(memory=0)
        for frame in range(50):
            tracker.update(*at(100 + frame / 25, place(frame)))
        tracker.update(*at(102, np.add(place(50), (jitter, 0, jitter, 0))))
        return tracker

    # After 22 frames without it the face is 88 pixels further, more than its width.
    assert followed().update(*at(102.88, place(72))) == [0]
    assert followed().update(*at(102.88, place(50))) == [1]


@pytest.mark.parametrize(("gap", "identity"), [(0.9, 0), (1.0, 0), (1.25, 1)])
def test_a_face_is_expected_for_a_second(gap, identity):
    tracker = Tracker(memory=0)
    tracker.update(*at(100.0, (10, 10, 50, 50)))
    assert tracker.update(*at(100.0 + gap, (10, 10, 50, 50))) == [identity]


@pytest.mark.parametrize(("memory", "options"), [(60, {}), (5, {"memory": 5.0})])
def test_looks_are_remembered_for_a_minute_or_as_long_as_told(memory, options):
    for late, identity in ((0.0, 0), (0.5, 1)):
        tracker = Tracker(**options)
        tracker.update(*at(100.0, (10, 10, 50, 50)))
        assert tracker.update(*at(100.0 + memory + late, (300, 40, 340, 80))) == [identity]


@pytest.mark.parametrize(("shift", "identity"), [(40, 0), (41, 1)])
def test_a_fifth_of_two_boxes_must_be_shared(shift, identity):
    """Of 60 pixels each 20 are shared, which is a fifth of the 100 that they cover together."""
    tracker = Tracker(memory=0)
    tracker.update(*at(0.0, (10, 10, 70, 50)))
    assert tracker.update(*at(0.04, (10 + shift, 10, 70 + shift, 50))) == [identity]


def test_between_two_faces_looks_decide_whose_place_a_box_is():
    image = plain()
    image[:, :50], image[:, 50:] = (200, 60, 60), (60, 160, 200)
    tracker = Tracker()
    assert tracker.update(*at(0.0, (10, 10, 50, 50), (50, 10, 90, 50), image=image)) == [0, 1]
    # It shares more with the place of the first.
    image[:] = (60, 160, 200)
    assert tracker.update(*at(0.04, (28, 10, 68, 50), image=image)) == [1]


def test_two_who_look_alike_are_two():
    tracker = Tracker()
    first, second = (10, 10, 50, 50), (300, 40, 340, 80)
    assert tracker.update(*at(0.0, first)) == [0]
    assert tracker.update(*at(0.04, first, second)) == [0, 1]
    assert tracker.update(*at(0.08, second, first)) == [1, 0]


@pytest.mark.parametrize(("age", "identity"), [(0.75, 0), (1.0, 1), (1.5, 1)])
def test_a_new_face_may_turn_out_to_be_a_known_one_within_a_second(age, identity):
    """It came in the dark; then there is light on it."""
    tracker = Tracker()
    tracker.update(*at(100.0, (10, 10, 50, 50), image=plain(220)))
    place = (300, 40, 340, 80)
    assert tracker.update(*at(102.0, place, image=plain(40))) == [1]
    assert tracker.update(*at(102.5, place, image=plain(40))) == [1]
    assert tracker.update(*at(102.0 + age, place, image=plain(220))) == [identity]


def test_a_new_face_is_none_that_was_seen_beside_it():
    tracker = Tracker()
    known, new = (10, 10, 50, 50), (300, 40, 340, 80)
    image = plain(220)
    image[:, 200:] = 40
    tracker.update(*at(100.0, known, image=image))
    assert tracker.update(*at(100.5, known, new, image=image)) == [0, 1]
    # The first has gone, and the light falls on the other.
    assert tracker.update(*at(101.0, new, image=plain(220))) == [1]


def test_two_frames_of_one_time_are_no_motion():
    tracker = Tracker(memory=0)
    with np.errstate(all="raise"):
        tracker.update(*at(100.0, (10, 10, 50, 50)))
        assert tracker.update(*at(100.0, (12, 10, 52, 50))) == [0]
        assert tracker.update(*at(100.9, (12, 10, 52, 50))) == [0]


@pytest.mark.parametrize(
    ("box", "learnt"),
    [((1, 1, 79, 59), True), ((0, 1, 79, 59), False), ((1, 0, 79, 59), False),
     ((1, 1, 80, 59), False), ((1, 1, 79, 60), False)],
)  # fmt: skip
def test_looks_are_learnt_from_faces_that_are_wholly_in_the_picture(box, learnt):
    """What changes is the light on it; half a face would look otherwise, too."""
    tracker = Tracker()
    tracker.update(*at(0.0, box, image=plain(220, (60, 80))))
    for frame in range(1, 60):
        assert tracker.update(*at(frame / 25, box, image=plain(40, (60, 80)))) == [0]
    back = tracker.update(*at(10.0, (20, 20, 50, 50), image=plain(40 if learnt else 220, (60, 80))))
    assert back == [0]
