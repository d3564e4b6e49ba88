import numpy as np
import onnx
import pytest
import torch
from onnx_models import golden_images, golden_model, run

from emonet_deploy.export.algebra import merge_pointwise
from emonet_deploy.export.graph import Graph
from emonet_deploy.export.interpreter import Interpreter
from emonet_deploy.export.rewrite import normalize_batchnorm
from emonet_deploy.export.streams import equalize_streams


@pytest.fixture(scope="module")
def models():
    """The network before and after."""
    before = onnx.ModelProto()
    before.CopyFrom(golden_model())
    normalize_batchnorm(before)
    merge_pointwise(before)
    after = onnx.ModelProto()
    after.CopyFrom(before)
    equalize_streams(after, torch.from_numpy(golden_images(2)))
    return before, after


def sums(model):
    """Every residual sum, on pictures the rewrite has seen."""
    found = {}

    def keep(node, _, output):
        if node.op_type == "Add" and output.ndim == 4:
            found[node.name] = output
        return output

    with torch.no_grad():
        Interpreter(model).run(torch.from_numpy(golden_images(2)), keep)
    return found


def unevenness(values):
    """How much wider the range of all channels is than that of a typical one."""
    low, high = values.amin((0, 2, 3)), values.amax((0, 2, 3))
    return float((high.max() - low.min()) / (high - low).median())


def test_the_function_stays_the_same(models):
    images = golden_images(4)  # two that were not used to measure
    before, after = (run(model, images) for model in models)
    for name, values in before.items():
        assert np.abs(after[name] - values).max() < 1e-4 * np.abs(values).max(), name


def test_the_channels_of_every_sum_have_more_even_ranges(models):
    before, after = (sums(model) for model in models)
    ratios = [unevenness(after[name]) / unevenness(values) for name, values in before.items()]
    assert len(ratios) == 46
    assert np.median(ratios) < 0.75


def test_a_stream_that_other_operators_read_is_left_alone():
    model = onnx.ModelProto()
    model.CopyFrom(golden_model())
    normalize_batchnorm(model)
    graph = Graph(model)
    (add,) = (node for node in graph.nodes if node.name == "conv2.add")
    model.graph.node.append(onnx.helper.make_node("Relu", add.output, ["odd"], "odd"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("odd", 1, None))
    weight = graph.constant("conv2.downsample.2.weight")
    equalize_streams(model, torch.from_numpy(golden_images(1)))
    np.testing.assert_array_equal(Graph(model).constant("conv2.downsample.2.weight"), weight)
