import numpy as np
import onnx
import pytest
from helpers import golden
from helpers.onnx_models import golden_images
from onnx import TensorProto, helper, numpy_helper

from emonet_deploy.benchmarks.parity.layers import _restored, _to_scale, compare_layers
from emonet_deploy.export.onnx import save_model
from emonet_deploy.export.quantization.schemes import SCHEMES
from emonet_deploy.runtime.metadata import read_info

CROPS = golden.images(1, 0)


def test_every_layer_of_the_export_agrees(onnx8):
    layers = compare_layers(golden.model(8), onnx8, CROPS)
    assert len(layers) == 117
    for name, difference in layers.items():
        assert difference.max_abs < 1e-4 * difference.spread, name


def test_a_wrong_layer_is_the_first_that_differs(onnx8, tmp_path):
    model = onnx.load(onnx8)
    weight = next(t for t in model.graph.initializer if t.name == "m1.b2_2.conv2.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.01, weight.name))
    onnx.save(model, tmp_path / "changed.onnx")
    layers = compare_layers(golden.model(8), tmp_path / "changed.onnx", CROPS)
    wrong = [name for name, d in layers.items() if d.max_abs > 1e-3 * d.spread]
    assert wrong[0] == "m1.b2_2.conv2"


def test_channels_equalised_for_8_bits_are_compared_on_the_scale_of_the_reference(onnx8, tmp_path):
    equalised = SCHEMES["cpu"](onnx.load(onnx8), golden_images(1, pixels=True)).prepared(())
    path = save_model(equalised, tmp_path / "equalised.onnx", read_info(onnx8))
    layers = compare_layers(golden.model(8), path, CROPS)
    assert len(layers) > 110
    for name, difference in layers.items():
        assert difference.max_abs < 1e-3 * difference.spread, name


def test_each_channel_is_brought_to_the_scale_that_fits_best():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (1, 4, 5, 6))
    factors = np.array([2.0, -3.0, 0.0, 0.5]).reshape(1, 4, 1, 1)
    found = _to_scale(truth, truth * factors)
    assert found.shape == truth.shape
    np.testing.assert_allclose(found[:, [0, 1, 3]], truth[:, [0, 1, 3]])
    assert not found[:, 2].any()  # of nothing nothing comes
    made = truth[:, :1] + rng.normal(0, 1, (1, 1, 5, 6))
    fit = np.linalg.lstsq(made.reshape(-1, 1), truth[:, :1].ravel())[0]
    np.testing.assert_allclose(_to_scale(truth[:, :1], made), made * fit)
    flat = np.array([[1.0, 2.0]])
    np.testing.assert_allclose(_to_scale(flat, flat * [[4, 5]]), flat)


@pytest.mark.parametrize("quantised", [False, True])
def test_what_a_concatenation_restores_is_restored_piece_by_piece(quantised):
    """Two convolutions of 2 and 1 channels, joined, then scaled and shifted channel by channel."""
    nodes, constants = [], [
        numpy_helper.from_array(np.array([2, 3, 4], np.float32).reshape(3, 1, 1, 1), "scale"),
        numpy_helper.from_array(np.array([10, 20, 30], np.float32), "shift"),
    ]  # fmt: skip
    for name, channels in (("a", 2), ("b", 1)):
        weight = numpy_helper.from_array(np.zeros((channels, 3, 1, 1), np.float32), f"{name}_w")
        constants.append(weight)
        kernel, output = f"{name}_w", f"{name}_out"
        if quantised:
            nodes.append(helper.make_node("DequantizeLinear", [kernel, "s", "z"], [f"{name}_dq"]))
            kernel = f"{name}_dq"
        nodes.append(helper.make_node("Conv", ["x", kernel], [output], name=name))
    joined = "joined"
    nodes.append(helper.make_node("Concat", ["a_out", "b_out"], [joined], axis=1))
    if quantised:
        nodes.append(helper.make_node("QuantizeLinear", [joined, "s", "z"], ["q"]))
        nodes.append(helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"]))
        joined = "dq"
    nodes.append(
        helper.make_node("Conv", [joined, "scale", "shift"], ["y"], name="x.restored", group=3)
    )
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 2, 2])
    found = _restored(helper.make_graph(nodes, "g", [image], [], constants))
    assert set(found) == {"a_out", "b_out"}
    ones = np.ones((1, 2, 2, 2), np.float32)
    assert found["a_out"](ones)[0, :, 0, 0].tolist() == [12, 23]
    assert found["b_out"](ones[:, :1])[0, :, 1, 1].tolist() == [34]


def test_what_one_convolution_wrote_is_restored_as_a_whole():
    constants = [
        numpy_helper.from_array(np.array([2, 3], np.float32).reshape(2, 1, 1, 1), "scale"),
        numpy_helper.from_array(np.array([10, 20], np.float32), "shift"),
        numpy_helper.from_array(np.zeros((2, 3, 1, 1), np.float32), "w"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a_out"], name="a"),
        helper.make_node("Conv", ["a_out", "scale", "shift"], ["y"], name="a.restored", group=2),
    ]
    (restore,) = _restored(helper.make_graph(nodes, "g", [], [], constants)).values()
    assert restore(np.ones((1, 2, 1, 1)))[0, :, 0, 0].tolist() == [12, 23]
