import numpy as np
import onnx
import pytest
from helpers.onnx_models import golden_images, golden_model, rewritten, run
from helpers.tiny_model import write_tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_deploy.errors import ExportError
from emonet_deploy.export.passes.embed_processing import embed_processing
from emonet_deploy.export.passes.fp16 import convert_fp16
from emonet_deploy.runtime.metadata import tensors_of
from emonet_deploy.runtime.pipeline.artifact_interfaces import results
from emonet_deploy.runtime.pipeline.postprocess import decode_heatmaps


def test_a_tiny_networks_results_are_those_that_numpy_computes(tmp_path):
    plain = onnx.load(write_tiny(tmp_path / "m.onnx"))
    pixels = golden_images(2, pixels=True)
    outputs = run(plain, golden_images(2))
    want, got = results(outputs), run(rewritten(plain, embed_processing), pixels)
    assert list(got) == list(want)
    for name, values in want.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-5, atol=1e-4, err_msg=name)
    assert (np.abs(outputs["valence"]) > 1).any() or (np.abs(outputs["arousal"]) > 1).any()
    with pytest.raises(ExportError, match="tensor interface"):
        embed_processing(rewritten(plain, embed_processing))


@pytest.fixture(scope="module")
def embedded():
    return rewritten(golden_model(), embed_processing)


def test_pixels_in_results_out_as_numpy_computes_them(embedded):
    want = results(run(golden_model(), golden_images(2)))
    got = run(embedded, golden_images(2, pixels=True))
    assert list(got) == list(want)
    for name, values in want.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_interface_is_the_contracts(embedded):
    onnx.checker.check_model(embedded, full_check=True)
    inputs, outputs = tensors_of(8, "image")
    for values, tensors in ((embedded.graph.input, inputs), (embedded.graph.output, outputs)):
        for value, tensor in zip(values, tensors, strict=True):
            shape = tuple(d.dim_value or None for d in value.type.tensor_type.shape.dim)
            assert (value.name, shape) == (tensor.name, tensor.shape)


def test_processing_is_in_float_whatever_the_network_computes_in():
    half = rewritten(golden_model(), convert_fp16)
    want = results(run(half, golden_images(2)))
    got = run(rewritten(half, embed_processing), golden_images(2, pixels=True))
    for name, values in want.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_model_that_already_takes_pixels_is_refused(embedded):
    with pytest.raises(ExportError, match="tensor interface"):
        embed_processing(embedded)


@pytest.fixture(scope="module")
def decoder(embedded):
    """The landmark part alone: heatmaps in, landmarks out."""
    parts = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(embedded))
    model = parts.extract_model(["heatmap.raw"], ["landmarks"])
    return lambda heatmap: run(model, heatmap)["landmarks"]


def test_peaks_at_the_border_and_in_the_corners(decoder):
    heatmap = np.zeros((1, 68, 64, 64), np.float32)
    corners = [(0, 0), (0, 63), (63, 0), (63, 63), (0, 17), (63, 17), (17, 0), (17, 63)]
    for k, (row, column) in enumerate(corners):
        heatmap[0, k, row, column] = 1
    heatmap[0, 8, 30, 20:22] = 1  # a tie: the vertex lies between the two
    landmarks = decoder(heatmap)[0]
    np.testing.assert_array_equal(landmarks, decode_heatmaps(heatmap)[0])
    np.testing.assert_allclose(landmarks[8], [(20.5 + 0.5) * 4 - 0.5, (30 + 0.5) * 4 - 0.5, 1])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-30, 1.0, 1e30]), st.booleans())
def test_any_heatmap_is_read_as_numpy_reads_it(decoder, seed, scale, coarse):
    heatmap = np.random.default_rng(seed).normal(0, scale, (1, 68, 64, 64)).astype(np.float32)
    if coarse:  # many equal values: the first of them is the peak
        heatmap = np.round(heatmap / scale).astype(np.float32)
    want = decode_heatmaps(heatmap)
    np.testing.assert_allclose(decoder(heatmap), want, rtol=1e-6, atol=1e-4)
