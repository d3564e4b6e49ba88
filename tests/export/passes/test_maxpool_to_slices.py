import numpy as np
import onnx
from helpers.onnx_models import golden_images, golden_model, rewritten, run
from onnx import TensorProto, helper

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.passes.maxpool_to_slices import pool_to_max


def operators(model):
    return {node.name: node.op_type for node in model.graph.node}


def test_the_function_stays_the_same():
    slices = rewritten(golden_model(), pool_to_max)
    onnx.checker.check_model(slices, full_check=True)
    images = golden_images(2)
    want, got = run(golden_model(), images), run(slices, images)
    for name, values in want.items():
        assert np.abs(got[name] - values).max() < 1e-5 * np.abs(values).max(), name


def test_poolings_of_what_a_convolution_adds_up_stay():
    before, after = operators(golden_model()), operators(rewritten(golden_model(), pool_to_max))
    graph = Graph(golden_model())
    producers = graph.producers()
    pools = [node for node in graph.nodes if node.op_type == "MaxPool"]
    by_convolution = {
        pool.name
        for pool in pools
        if "Conv" in {producers[n].op_type for n in producers[pool.input[0]].input}
    }
    assert {pool.name for pool in pools} > by_convolution > set()
    for pool in pools:
        assert before[pool.name] == "MaxPool"
        assert after[pool.name] == ("MaxPool" if pool.name in by_convolution else "Max")


def test_another_window_is_left_alone():
    for attributes in ({"kernel_shape": [3, 3], "strides": [2, 2]}, {"kernel_shape": [2, 2]}):
        nodes = [
            helper.make_node("Add", ["x", "x"], ["twice"], name="add"),
            helper.make_node("MaxPool", ["twice"], ["y"], name="pool", **attributes),
        ]
        x, y = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2, None, None])
            for name in "xy"
        )
        graph = helper.make_graph(nodes, "g", [x], [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        pool_to_max(model)
        assert operators(model) == {"add": "Add", "pool": "MaxPool"}
