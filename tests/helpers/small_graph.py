"""ONNX graphs of a few nodes, for tests of what reads and rewrites graphs."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def small(nodes, constants, x=("N", 4, 8, 8), outputs=("y",), name="x"):
    """Make a float32 model of one input; shapes between are left to be inferred.

    Args:
        nodes: each an operator, its inputs, its output (also the node's name) and attributes.
        constants: arrays by name; those of float64 become float32.
        x: shape of the input.
        outputs: names of what the graph gives.
        name: of the input.
    """
    made = [
        helper.make_node(kind, inputs.split(), [output], name=output, **attributes)
        for kind, inputs, output, attributes in nodes
    ]
    tensors = [
        numpy_helper.from_array(
            np.asarray(v, np.float32 if np.asarray(v).dtype == np.float64 else None), key
        )
        for key, v in constants.items()
    ]
    graph = helper.make_graph(
        made,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, x)],
        [helper.make_empty_tensor_value_info(output) for output in outputs],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    del model.graph.output[:]
    model.graph.output.extend(inferred.graph.output)
    onnx.checker.check_model(model, full_check=True)
    return model


def conv(inputs, output, kernel=3, pads=1, **attributes):
    """A convolution for ``small``."""
    about = {"kernel_shape": [kernel] * 2, "pads": [pads] * 4}
    return ("Conv", inputs, output, about | attributes)


def norm_constants(name, channels, rng):
    """Scale, shift, mean and variance of a BatchNormalization, under its name."""
    return {
        f"{name}.{part}": rng.uniform(low, high, channels)
        for part, low, high in (("s", 0.5, 2), ("b", -1, 1), ("m", -1, 1), ("v", 0.5, 2))
    }


def norm(x, output):
    """A BatchNormalization for ``small``, of ``norm_constants``."""
    parts = " ".join(f"{output}.{part}" for part in "sbmv")
    return ("BatchNormalization", f"{x} {parts}", output, {"epsilon": 0.125})
