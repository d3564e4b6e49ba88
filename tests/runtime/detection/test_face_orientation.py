import numpy as np
import pytest
from skimage import data

from emonet_deploy.runtime.detection.centerface import CenterFace
from emonet_deploy.runtime.detection.face_orientation import quarter_turns
from emonet_deploy.runtime.media.frame import Frame

FACE = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], float)


@pytest.mark.parametrize("angle", range(-180, 180, 15))
def test_faces_tilted_by_more_than_sixty_degrees_are_turned_to_the_nearest_quarter(angle):
    # Clockwise, as seen on a screen, whose y points down.
    t = np.radians(angle)
    turned = (FACE - 50) @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) + 50
    turns = quarter_turns(turned, 60)
    left = (angle + 90 * turns + 180) % 360 - 180
    if abs(angle) < 60:
        assert turns == 0
    else:
        assert abs(left) <= 45 or abs(angle) == 60


@pytest.mark.parametrize("tilt", [59.9, 60.1, 134.9, 135.1])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_angles_between_which_the_nearest_quarter_changes(tilt, sign):
    t = np.radians(sign * tilt)
    turned = FACE @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
    # A face tilted clockwise is turned back by three quarters, one tilted the other way by one.
    quarters = (tilt > 60) + (tilt > 135)
    assert quarter_turns(turned, 60) == (4 - sign * quarters) % 4


@pytest.mark.parametrize(("apart", "turns"), [(14.0, 0), (16.0, 1)])
def test_eyes_and_mouth_say_something_from_15_hundredths_of_the_box_on(apart, turns):
    lying = np.array([[0, 0], [0, 20], [apart / 2, 10], [apart, 0], [apart, 20]], float)
    assert quarter_turns(lying, 100) == turns


def test_points_too_close_together_say_nothing():
    assert quarter_turns(np.zeros((5, 2)), 60) == 0
    assert quarter_turns(FACE[:, ::-1] * 0.1, 60) == 0
    assert quarter_turns(np.full((5, 2), np.nan), 60) == 0


@pytest.mark.parametrize("quarter", range(4))
def test_a_photograph_is_turned_back_however_it_lies(quarter):
    lying = np.ascontiguousarray(np.rot90(data.astronaut(), quarter))
    (found,) = [f for f in CenterFace().detect(Frame(lying)) if not f.faint]
    assert found.turns == quarter
