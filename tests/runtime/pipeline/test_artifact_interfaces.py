import numpy as np
import pytest
from helpers.fake_session import FakeSession

from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.pipeline.artifact_interfaces import mirror, prepare, read_head, results

TENSOR, IMAGE = FakeSession(interface="tensor"), FakeSession(interface="image")
CROPS = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)


def test_crops_go_in_as_each_interface_takes_them():
    assert prepare(IMAGE.info, CROPS) is CROPS
    planes = prepare(TENSOR.info, CROPS)
    np.testing.assert_allclose(planes, CROPS.transpose(0, 3, 1, 2) / 255, atol=1e-7)


@pytest.mark.parametrize("session", [TENSOR, IMAGE], ids=["tensor", "image"])
def test_a_mirrored_picture_has_its_left_on_the_right(session):
    prepared = prepare(session.info, CROPS)
    mirrored = mirror(session.info, prepared)
    assert mirrored.flags.c_contiguous
    np.testing.assert_array_equal(mirrored, prepare(session.info, CROPS[:, :, ::-1]))


def test_the_head_is_read_from_either_interface():
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32)
    emotion = {"valence": np.array([0.25, -1.5], np.float32),
               "arousal": np.array([-0.5, 0.75], np.float32)}  # fmt: skip
    for name in ("expression", "probabilities"):
        head = read_head({name: scores} | emotion)
        assert head.expression.tolist() == [1, 0]
        assert head.emotion.tolist() == [[0.25, -0.5], [-1.5, 0.75]]


def raw(peak=1.0):
    """What a network says of two faces: every landmark at the heatmap's pixel (16, 40)."""
    heatmap = np.zeros((2, 68, 64, 64), np.float32)
    heatmap[:, :, 40, 16] = peak
    return {
        "heatmap": heatmap,
        "expression": np.log(np.array([[1, 2, 5], [6, 3, 1]], np.float32)),
        "valence": np.array([1.5, -0.5], np.float32),
        "arousal": np.array([-1.5, 0.5], np.float32),
    }


def test_raw_outputs_become_shares_bounded_values_and_landmarks():
    found = results(raw())
    np.testing.assert_allclose(found["probabilities"], [[1 / 8, 2 / 8, 5 / 8], [0.6, 0.3, 0.1]])
    assert found["valence"].tolist() == [1.0, -0.5]
    assert found["arousal"].tolist() == [-1.0, 0.5]
    assert found["landmarks"].shape == (2, 68, 3)
    np.testing.assert_allclose(found["landmarks"][1, 5], (4 * 16 + 1.5, 4 * 40 + 1.5, 1.0))


def test_a_peak_that_is_no_number_is_refused():
    with pytest.raises(BackendError, match="hold NaN or infinity"):
        results(raw(np.inf))
