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
