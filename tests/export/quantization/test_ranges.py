"""Ranges of tensors, on a network of three nodes whose values are known."""

import cv2
import numpy as np
import pytest
import torch
from helpers.small_graph import small
from onnx import TensorProto

from emonet_deploy.errors import InputError
from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.quantization.calibrate import (
    Calibration,
    Range,
    _histograms,
    _percentiles,
    chunks,
    observe_ranges,
    reach,
    read_crops,
)

RNG = np.random.default_rng(0)


@pytest.fixture
def model():
    """Pixels less 0.5, and what a ReLU leaves of it."""
    made = small(
        [("Add", "image shift", "a", {}), ("Relu", "a", "y", {})], {"shift": np.float32([-0.5])},
        x=("N", 3, 256, 256), name="image",
    )  # fmt: skip
    assert made.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    return made


@pytest.fixture
def faces():
    return RNG.integers(20, 230, (11, 256, 256, 3), np.uint8)


def test_minmax_covers_all_that_was_seen(model, faces):
    found = observe_ranges(model, faces, {"a", "y"})
    low, high = faces.min() / 255 - 0.5, faces.max() / 255 - 0.5
    assert (found["a"].low, found["a"].high) == pytest.approx((low, high))
    assert (found["y"].low, found["y"].high) == pytest.approx((0, high))
    assert found["a"].reach >= 1


@pytest.mark.parametrize("share", [1e-5, 1e-3, 0.2])
def test_percentiles_leave_out_a_share_at_each_end(model, faces, share):
    found = _percentiles(Interpreter(model), faces, {"a"}, share)["a"]
    values = np.sort((faces / 255 - 0.5).ravel().astype(np.float32))
    beyond = int(values.size * share)
    assert found.low == pytest.approx(values[beyond], abs=1e-6)
    assert found.high == pytest.approx(values[-1 - beyond], abs=1e-6)


def test_the_percentile_is_99_999(model, faces):
    found = observe_ranges(model, faces, {"a"}, "percentile")["a"]
    want = _percentiles(Interpreter(model), faces, {"a"}, 1e-5)["a"]
    assert (found.low, found.high) == (want.low, want.high)


def test_entropy_stays_within_what_was_seen(model, faces):
    seen = observe_ranges(model, faces, {"a"})["a"]
    found = observe_ranges(model, faces, {"a"}, "entropy")["a"]
    assert seen.low <= found.low < 0 < found.high <= seen.high
    assert found.reach == 1


def test_histograms_are_of_absolute_values_up_to_the_largest(model, faces):
    ranges = observe_ranges(model, faces, {"a"})
    counts = _histograms(Interpreter(model), faces, ranges)["a"]
    values = np.abs(faces / 255 - 0.5).ravel()
    assert counts.sum() == values.size
    want = np.histogram(values, len(counts), (0, ranges["a"].widest))[0]
    assert np.abs(counts - want).sum() < 0.02 * values.size  # values at the edges of bins


@pytest.mark.parametrize(("n", "sizes"), [(1, [1]), (8, [8]), (9, [8, 1]), (16, [8, 8])])
def test_faces_are_run_by_eight(n, sizes):
    images = RNG.integers(0, 256, (n, 256, 256, 3), np.uint8)
    parts = chunks(images)
    assert [len(part) for part in parts] == sizes
    want = torch.from_numpy(images.transpose(0, 3, 1, 2).astype("f") / 255)
    torch.testing.assert_close(torch.cat(parts), want)


def test_one_face_tells_nothing_of_others_and_equal_ones_that_there_is_no_more():
    assert reach(np.full((1, 5), 3.0)) == 1
    assert reach(np.full((40, 5), 3.0)) == pytest.approx(1)
    assert reach(RNG.lognormal(0, 0.3, (5000, 64))) == 1  # more than a thousand were seen


def test_a_silent_channel_counts_as_a_hundredth_of_its_loudest():
    silent = np.array([[1.0], [0.0]])
    assert reach(silent) == pytest.approx(reach(np.array([[1.0], [0.01]])))
    assert reach(silent) != pytest.approx(reach(np.array([[1.0], [0.02]])))


@pytest.mark.parametrize(("low", "high", "widest"), [(-3, 2, 3), (-1, 2, 2), (0, 5, 5)])
def test_the_widest_value_is_absolute(low, high, widest):
    assert Range(low, high).widest == widest
    assert Range(low, high).reach == 1


def test_a_calibration_is_of_all_values_within_the_targets_budget_unless_told_otherwise():
    made = Calibration(np.zeros((1, 256, 256, 3), np.uint8), "x")
    assert (made.budget, made.calibrator) == (None, "minmax")


@pytest.mark.parametrize(
    ("n", "limit", "taken"),
    [(8, 8, range(8)), (9, 3, (0, 4, 8)), (10, 4, (0, 3, 6, 9)), (8, 99, range(8))],
)
def test_crops_are_spread_evenly_from_the_first_to_the_last(tmp_path, n, limit, taken):
    for i in range(n):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((256, 256, 3), 10 * i, np.uint8))
    found = read_crops(tmp_path, limit, "--faces")
    assert found[:, 0, 0, 0].tolist() == [10 * i for i in taken]


def test_eight_crops_are_enough_and_seven_are_not(tmp_path):
    for i in range(7):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(InputError, match=r"7 images in .*; --faces takes .* least 8 .* better 128"):
        read_crops(tmp_path, 8, "--faces")
