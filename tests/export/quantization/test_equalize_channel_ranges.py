import numpy as np
import onnx
import pytest
import torch
from helpers.onnx_models import golden_images, golden_model, run

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.passes.batchnorm import normalize_batchnorm
from emonet_deploy.export.passes.merge_pointwise import merge_pointwise
from emonet_deploy.export.passes.nchwc import batchnorm_as_convolution
from emonet_deploy.export.quantization.equalize_channel_ranges import (
    equalize_channel_ranges,
    observe_channel_ranges,
    tensors_to_equalize,
)
from emonet_deploy.export.quantization.qdq_cpu import convolutions_in_int8, stored_tensors

IN_FLOAT = {"conv1", "l1", "m0.b1_4.conv1", "m0.b1_4.conv2", "m0.b1_4.conv3"}


@pytest.fixture(scope="module")
def models():
    """The network before and after, ranges measured on the first two golden images."""
    before = onnx.ModelProto()
    before.CopyFrom(golden_model())
    normalize_batchnorm(before)
    merge_pointwise(before)
    batchnorm_as_convolution(before)
    after = onnx.ModelProto()
    after.CopyFrom(before)
    tensors = tensors_to_equalize(Graph(before))
    ranges = observe_channel_ranges(before, golden_images(2, pixels=True), tensors)
    equalize_channel_ranges(after, ranges, IN_FLOAT)
    return before, after


def test_the_function_stays_the_same(models):
    images = golden_images(4)  # two that were not used to measure
    before, after = (run(model, images) for model in models)
    for name, values in before.items():
        assert np.abs(after[name] - values).max() < 2e-5 * np.abs(values).max(), name


def test_channels_that_are_evened_span_minus_one_to_one(models):
    _, after = models
    found = {}

    def keep(node, _, output):
        if node.output[0].endswith(".even"):
            found[node.output[0]] = output.amin((0, 2, 3)), output.amax((0, 2, 3))
        return output

    with torch.no_grad():
        Interpreter(after).run(torch.from_numpy(golden_images(2)), keep)
    # 34 of 35 blocks; two shortcuts; bl0 and the head's two; the three sums that 1x1 layers read.
    assert len(found) == 34 + 2 + 3 + 3
    lows, highs = (torch.cat(ends) for ends in zip(*found.values(), strict=True))
    assert lows.min() > -1.001
    assert highs.max() < 1.001
    full = (lows < -0.999) & (highs > 0.999)
    assert full.float().mean() > 0.98  # a silent channel keeps a narrower range
    assert torch.equal(lows < -0.999, highs > 0.999)


def test_a_block_in_float_is_left_as_it_is(models):
    before, after = map(Graph, models)
    for name in ("m0.b1_4.conv1", "m0.b1_4.conv2", "m0.b1_4.conv3"):
        (old,), (new,) = ([n for n in g.nodes if n.name == name] for g in (before, after))
        assert new == old
        np.testing.assert_array_equal(after.constant(new.input[1]), before.constant(old.input[1]))


def test_what_brings_channels_back_stays_in_float_and_norms_inside_blocks_do_not(models):
    _, after = models
    graph = Graph(after)
    in_int8 = convolutions_in_int8(graph, IN_FLOAT)
    assert not [name for name in in_int8 if name.endswith((".restored", ".evened"))]
    assert {"m0.b2_4.bn2", "m0.b2_4.bn3", "m0.b2_4.conv1", "bl0.merged"} <= set(in_int8)
    assert not {"m0.b2_4.bn1", "m0.b1_4.bn2", "m0.b1_4.conv2", "conv1"} & set(in_int8)
    stored = stored_tensors(graph, in_int8)
    assert "m0.b2_4.concat.even" in stored
    assert not [name for name in stored if name.startswith("m0.b1_4.")]
