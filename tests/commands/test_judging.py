import cv2
import numpy as np
import pytest

from emonet_deploy.commands.judging import MOST, change_gates, judged_faces
from emonet_deploy.errors import InputError
from emonet_deploy.export.quantization.calibrate import read_crops
from emonet_deploy.runtime.precision_specs import Gates, gates_of


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(24):
        picture = rng.integers(0, 256, (256, 256, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{i:03}.png"), picture)
    return tmp_path


def test_faces_that_calibration_saw_do_not_judge(folder):
    seen = read_crops(folder, 10, "--calibration")
    faces = judged_faces(folder, seen=seen)
    assert faces.source == folder.name
    known = {crop.tobytes() for crop in seen}
    assert len(faces.first) == 14
    assert not known & {crop.tobytes() for crop in faces.first}
    with pytest.raises(InputError, match="fewer than 8 faces that calibration has not seen"):
        judged_faces(folder, seen=read_crops(folder, 24, "--calibration"))


def test_more_faces_are_others_and_a_number_means_just_that_many(folder):
    faces = judged_faces(folder, 5)
    assert len(faces.first) == 5
    assert faces.more is None
    drawn = judged_faces(None)
    assert len(drawn.first) == 96
    further = drawn.more()
    assert len(further) == MOST - 96
    assert not {c.tobytes() for c in drawn.first} & {c.tobytes() for c in further}


def test_a_gate_is_changed_by_its_name():
    gates = change_gates(gates_of("int8"), ["ccc=0.98", "agreement=0.8"])
    assert (gates.ccc, gates.agreement) == (0.98, 0.8)
    assert gates.layer_noise == gates_of("int8").layer_noise
    for wrong in ("ccc", "ccc=much", "ccc=nan", "beauty=1"):
        with pytest.raises(InputError, match="--gate takes one of"):
            change_gates(Gates(), [wrong])
