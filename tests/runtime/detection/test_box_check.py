import pytest

from emonet_deploy.runtime.detection.box_check import box_problem


@pytest.mark.parametrize(
    "box",
    [(0, 0, 100, 80), (-20, -20, 30, 30), (90, 70, 110, 90), (-50, -40, 150, 120), (3, 3, 5, 5),
     (99.5, 0, 101.5, 50), (0, 79.5, 50, 81.5)],
)  # fmt: skip
def test_boxes_of_faces_may_reach_over_the_border(box):
    assert box_problem(box, 100, 80) is None


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ((100, 0, 150, 50), "outside the picture of 100 x 80 pixels"),
        ((-30, -30, 0, 0), "outside"),
        ((95, 75, 130, 110), "for the most part"),
        ((-1e9, -1e9, 1e9, 1e9), "for the most part"),
        ((-1e308, 0, 1e308, 80), "for the most part"),
        ((0.1, 0.1, 0.9, 0.9), "not from 0 to 1"),
        ((0, 0, 1, 2), "not from 0 to 1"),
        ((10, 10, 11, 60), "smaller than 2 pixels"),
    ],
)
def test_boxes_of_another_scale_are_told_with_the_size_of_the_picture(box, told):
    assert told in box_problem(box, 100, 80)


@pytest.mark.parametrize(
    "box",
    [(100, 0, 150, 50), (-50, 0, 0, 50), (0, 80, 50, 130), (0, -50, 50, 0), (200, 9, 250, 50),
     (9, 200, 50, 250), (200, 200, 250, 250)],
)  # fmt: skip
def test_a_box_that_only_touches_the_picture_lies_outside_it_wholly(box):
    assert box_problem(box, 100, 80).endswith("outside the picture of 100 x 80 pixels")


def test_only_a_box_within_the_first_pixels_is_taken_for_one_from_0_to_1():
    assert "not from 0 to 1" not in box_problem((1, 1, 2.5, 1.9), 100, 80)
