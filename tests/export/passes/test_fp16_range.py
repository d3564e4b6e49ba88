import numpy as np
import onnx
import pytest
import torch
from helpers.onnx_models import golden_images, golden_model, node_types, rewritten, run
from helpers.small_graph import small

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.passes.fp16 import EXACT, convert_fp16
from emonet_deploy.export.passes.fp16_range import LARGEST, observe_half_range


def widened(factor):
    """The golden network with its first stack's input, and all that is added to it, enlarged."""
    model = rewritten(golden_model())
    graph = Graph(model)
    name = "conv4.downsample.2.weight"
    graph.set_constant(name, (graph.constant(name) * factor).astype(np.float32))
    return model


def widest_tensor(model, images, nodes):
    """What gets largest of what some nodes write."""
    largest = {}

    def look(node, _, output):
        if node.name in nodes and node.output[0] not in {o.name for o in model.graph.output}:
            largest[node.output[0]] = float(output.abs().max())
        return output

    with torch.no_grad():
        Interpreter(model).run(torch.from_numpy(images), look)
    return max(largest, key=largest.get)


def test_a_network_of_small_values_is_half_everywhere():
    found = observe_half_range(golden_model(), torch.from_numpy(golden_images(2)))
    assert found.wide == frozenset()
    assert 1 < found.largest < LARGEST


def test_what_half_has_no_room_for_computes_in_float32():
    model, images = widened(3e4), golden_images(2)
    found = observe_half_range(model, torch.from_numpy(images))
    assert found.largest > 65504
    assert {"conv4.downsample.2", "conv4.add", "m0.maxpool"} <= found.wide
    assert "conv3.add" not in found.wide
    half = rewritten(model, lambda m: convert_fp16(m, EXACT | found.wide))
    types = node_types(half)
    assert types["conv4.add"] == "FLOAT"
    assert types["conv3.add"] == types["conv4.conv1"] == "FLOAT16"
    lost = rewritten(model, convert_fp16)
    in_half = {name for name, kind in node_types(lost).items() if kind == "FLOAT16"}
    widest = widest_tensor(model, images, in_half)
    # Asked for, as ONNX Runtime's CPU provider computes half in float32 between what it must store.
    lost.graph.output.append(onnx.helper.make_empty_tensor_value_info(widest))
    assert not np.isfinite(run(lost, images)[widest]).all()
    got, want = run(half, images)["heatmap"], run(model, images)["heatmap"]
    assert np.abs(got - want).max() < 5e-3 * np.abs(want).max()


@pytest.mark.parametrize(
    ("largest", "wide"),
    [(2.0**14, set()), (2.0**14 + 16, {"a", "b"}), (np.inf, {"a", "b"}), (np.nan, {"a", "b"})],
)
def test_a_tensor_may_reach_2_to_the_14_and_who_reads_a_larger_one_is_wide(largest, wide):
    model = small(
        [("Add", "x c", "a", {}), ("Slice", "a from to axes", "b", {}), ("Relu", "b", "y", {})],
        {"c": np.float32([0]), "from": np.array([0]), "to": np.array([1]), "axes": np.array([1])},
        x=("N", 2, 2, 2),
    )  # fmt: skip
    images = torch.zeros(1, 2, 2, 2)
    images[0, 1, 0, 1] = -largest  # of the channel that is cut off
    found = observe_half_range(model, images)
    assert found.wide == wide
    if np.isfinite(largest):
        assert found.largest == largest
