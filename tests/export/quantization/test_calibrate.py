import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers.onnx_models import golden_images, golden_model, run

from emonet_deploy.emonet_ref.synthetic.faces import PARITY_SEED, crops, make_faces
from emonet_deploy.errors import InputError
from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.passes.batchnorm import normalize_batchnorm
from emonet_deploy.export.quantization.calibrate import (
    calibration_crops,
    observe_ranges,
    reach,
)
from emonet_deploy.export.quantization.cross_layer_equalization import equalize
from emonet_deploy.export.quantization.entropy import BINS, entropy_limit
from emonet_deploy.export.quantization.equalize_channel_ranges import observe_channel_ranges


def test_trained_weights_are_not_calibrated_on_drawings():
    for identity in ("original", "sha256:0123"):
        with pytest.raises(InputError, match="--calibration DIR"):
            calibration_crops(None, identity)


def test_calibration_never_sees_the_faces_that_judge():
    ours = calibration_crops(None, "standin", 4)
    judges = crops(make_faces(16, PARITY_SEED))
    assert all((face != judges).any((1, 2, 3)).all() for face in ours)


def test_a_folder_is_sampled_evenly_and_any_size_becomes_a_crop(tmp_path):
    (tmp_path / "notes.txt").write_text("not an image")
    for i in range(17):
        cv2.imwrite(str(tmp_path / f"{i:02}.png"), np.full((40 + i, 50, 3), 10 * i, np.uint8))
    found = calibration_crops(tmp_path, "original", 9)
    assert found.shape == (9, 256, 256, 3)
    assert found[:, 0, 0, 0].tolist() == list(range(0, 170, 20))


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(InputError, match="0 images"):
        calibration_crops(tmp_path, "original")
    with pytest.raises(InputError, match=r"no folder at .*nowhere, which --calibration names"):
        calibration_crops(tmp_path / "nowhere", "original")


@pytest.fixture(scope="module")
def interpreter():
    return Interpreter(golden_model())


def test_the_interpreter_computes_what_onnx_runtime_computes(interpreter):
    images = golden_images(2)
    want = run(golden_model(), images)
    with torch.no_grad():
        got = interpreter.run(torch.from_numpy(images))
    for name, values in want.items():
        error = np.abs(got[name].numpy() - values).max() / np.abs(values).max()
        assert error < 2e-5, name


def test_ranges_are_the_exact_percentiles(interpreter):
    pixels = golden_images(4, pixels=True)
    seen = []

    def keep(node, _, output):
        if node.name == "m0.b1_4.relu":
            seen.append(output)
        return output

    with torch.no_grad():
        interpreter.run(torch.from_numpy(golden_images(4)), keep)
    model, wanted = golden_model(), {"m0.b1_4.relu", "m0.b1_4.conv1"}
    cut = observe_ranges(model, pixels, wanted, "percentile")["m0.b1_4.relu"]
    full = observe_ranges(model, pixels, wanted, "minmax")["m0.b1_4.relu"]
    best = observe_ranges(model, pixels, wanted, "entropy")
    values = np.sort(seen[0].numpy().ravel())
    assert (full.low, full.high) == pytest.approx((values[0], values[-1]))
    beyond = int(len(values) * 1e-5)
    assert cut.high == pytest.approx(values[-1 - beyond])
    assert cut.low == 0
    assert best["m0.b1_4.relu"].low == 0
    assert 0 < best["m0.b1_4.relu"].high <= full.high
    assert best["m0.b1_4.conv1"].low < 0 < best["m0.b1_4.conv1"].high


def test_channel_ranges_are_the_extremes_over_all_faces(interpreter):
    tensor = "m0.b1_4.conv1"
    seen = []

    def keep(node, _, output):
        if node.output[0] == tensor:
            seen.append(output)
        return output

    with torch.no_grad():
        interpreter.run(torch.from_numpy(golden_images(4)), keep)
    found = observe_channel_ranges(golden_model(), golden_images(4, pixels=True), {tensor})
    assert list(found) == [tensor]
    np.testing.assert_allclose(found[tensor].low, seen[0].amin((0, 2, 3)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[tensor].high, seen[0].amax((0, 2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spread", [0.1, 0.5])
@pytest.mark.parametrize("faces", [16, 128])
def test_reach_tells_how_far_a_thousand_faces_go(faces, spread):
    rng = np.random.default_rng(0)
    largest = np.exp(rng.normal(0, spread, (1000, 400)))
    further = np.median(largest.max(0)) / np.median(largest[:faces].max(0))
    assert reach(largest[:faces]) == pytest.approx(further, rel=0.1)
    assert reach(largest[:1]) == 1.0
    assert reach(np.ones((3, 2))) == 1.0


@pytest.mark.parametrize("tail", [20, 60])
def test_entropy_clips_where_onnx_runtimes_own_calibrator_does(tail):
    calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 200_000), rng.uniform(-tail, tail, 20)])
    largest = float(np.abs(values).max())
    counts, _ = np.histogram(np.abs(values), BINS, (0, largest))
    collector = calibrate.HistogramCollector("entropy", True, 8001, 128, 99.99, "all")
    histogram = np.histogram(values, 8001, (-largest, largest))
    low, high, *_ = collector.get_entropy_threshold((*histogram, values.min(), values.max()), 128)
    ours = entropy_limit(counts.astype(np.float64), largest)
    assert ours == pytest.approx(max(-float(low), float(high)), rel=0.25)


@pytest.mark.parametrize("zeros", [0, 200_000, 10_000_000])
def test_the_zeros_of_a_relu_do_not_change_where_entropy_clips(zeros):
    values = np.abs(np.random.default_rng(0).normal(0, 1, 200_000))
    counts = np.histogram(values, BINS, (0, values.max()))[0].astype(np.float64)
    counts[0] += zeros
    limit = entropy_limit(counts, float(values.max()))
    assert np.mean(values > limit) < 1e-4


def test_entropy_keeps_all_of_what_is_spread_evenly():
    assert entropy_limit(np.ones(BINS), 3.0) == pytest.approx(3.0)


def test_equalising_changes_no_output_and_narrows_the_spread_of_ranges():
    model = onnx.ModelProto()
    model.CopyFrom(golden_model())
    normalize_batchnorm(model)
    images = torch.from_numpy(golden_images(2))
    peaks = {}

    def measure(node, _, output):
        if node.name == "m0.b1_4.relu":
            peaks.setdefault(node.name, []).append(output.amax((0, 2, 3)))
        return output

    with torch.no_grad():
        Interpreter(model).run(images, measure)
        equalize(model, images)
        Interpreter(model).run(images, measure)
    before, after = peaks["m0.b1_4.relu"]
    alive = before > before.max() / 100  # a channel that is silent stays so
    spread = [peak[alive].log().std().item() for peak in (before, after)]
    assert spread[1] == pytest.approx(spread[0] / 2, rel=0.01)
    want, got = run(golden_model(), images.numpy()), run(model, images.numpy())
    for name, values in want.items():
        assert np.abs(got[name] - values).max() / np.abs(values).max() < 2e-5, name
