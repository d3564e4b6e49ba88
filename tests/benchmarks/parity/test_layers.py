import onnx
from helpers import golden
from helpers.onnx_models import golden_images
from onnx import numpy_helper

from emonet_deploy.benchmarks.parity.layers import compare_layers
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
