from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_deploy.runtime.output.label_layout import Layout


def lap(a, b):
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def test_the_place_above_comes_first_then_the_nearest_free_one():
    box = (100, 100, 200, 220)
    layout = Layout(640, 360, [box])
    assert layout.take(80, 20, box, (100, 80)) == (100, 80, 180, 100)
    second = layout.take(80, 20, box, (100, 80))
    assert not lap(second, (100, 80, 180, 100))
    assert not lap(second, box)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.7])
def test_boxes_between_pixels_have_their_label_right_above(part):
    box = (100 + part, 100 + part, 200 + part, 220 + part)
    top = round(box[1])
    assert Layout(640, 360, [box]).take(80, 20, box, (box[0], box[1] - 20)) == (
        round(box[0]), top - 20, round(box[0]) + 80, top,
    )  # fmt: skip


def test_nothing_is_placed_where_there_is_no_room():
    box = (0, 0, 100, 100)
    assert Layout(100, 100, [box]).take(30, 10, box, (0, 0)) is None
    assert Layout(100, 130, [box]).take(30, 10, box, (0, 0)) == (0, 100, 30, 110)
    assert Layout(100, 300, [box]).take(30, 10, box, (0, 0), away=5) is not None
    assert Layout(100, 300, [box, (0, 100, 100, 140)]).take(30, 10, box, (0, 0), away=5) is None
    assert Layout(20, 20, [box]).take(30, 10, box, (0, 0)) is None
    assert Layout(100, 100, [box]).take_inside(30, 10, box) == (0, 0, 30, 10)


@given(
    st.lists(st.tuples(*[st.integers(0, 400)] * 2, *[st.integers(10, 90)] * 2), max_size=8),
    st.integers(10, 120),
    st.integers(8, 40),
)
@settings(deadline=None, max_examples=60)
def test_places_never_overlap_faces_or_each_other_and_lie_in_the_picture(raw, width, height):
    boxes = [(x, y, x + w, y + h) for x, y, w, h in raw]
    layout = Layout(500, 450, boxes)
    spots = [layout.take(width, height, box, box[:2]) for box in boxes]
    there = [spot for spot in spots if spot is not None]
    for spot in there:
        assert spot[0] >= 0
        assert spot[1] >= 0
        assert spot[2] <= 500
        assert spot[3] <= 450
        assert (spot[2] - spot[0], spot[3] - spot[1]) == (width, height)
        assert not any(lap(spot, box) for box in boxes)
    assert not any(lap(a, b) for a, b in combinations(there, 2))


@pytest.mark.parametrize("box", [(-500.4, -3, 20, 70), (1e4, 1e4, 3e4, 3e4)])
def test_faces_far_out_have_their_label_in_the_picture(box):
    spot = Layout(200, 100, [box]).take(50, 10, box, box[:2])
    assert np.all(np.array(spot) >= 0)
    assert spot[2] <= 200
    assert spot[3] <= 100
