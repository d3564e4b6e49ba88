"""A network with EmoNet's interface and 30,000 operations: real ONNX files that run at once."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from emonet_deploy.emonet_ref.constants import INPUT_NAME
from emonet_deploy.runtime.backends.int8_overflow import EXACT_SUMS
from emonet_deploy.runtime.metadata import METADATA_KEY, ModelInfo, tensors_of

NCLASS = 8
TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}


def write_tiny(path, precision="fp32", interface="tensor", target="gpu", seed=0):
    """Write a model with two convolutions, `first` and `second`, in the precision named."""
    rng = np.random.default_rng(seed)
    nodes, weights = [], []

    def constant(name, values, dtype=np.float32):
        weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def node(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def quantised(name, scale):
        scale, zero = constant(f"{name}_scale", scale), constant(f"{name}_zero", 0, np.int8)
        small = node("QuantizeLinear", [name, scale, zero], f"{name}_q")
        return node("DequantizeLinear", [small, scale, zero], f"{name}_dq")

    def convolution(source, name, outputs, inputs, size, stride):
        shape = (outputs, inputs, size, size)
        kernel = constant(f"{name}_weight", rng.normal(0, 1 / np.sqrt(inputs * size**2), shape))
        if precision == "int8":
            source, kernel = quantised(source, 0.05), quantised(kernel, 0.02)
        if precision == "fp16":
            source, kernel = (
                node("Cast", [tensor], f"{name}_{tensor}_half", to=TensorProto.FLOAT16)
                for tensor in (source, kernel)
            )
        result = node(
            "Conv", [source, kernel], name, strides=[stride, stride], kernel_shape=[size, size]
        )
        if precision == "fp16":
            result = node("Cast", [result], f"{name}_float", to=TensorProto.FLOAT)
        return result

    images = INPUT_NAME
    if interface == "image":
        scaled = node("Cast", [images], "floats", to=TensorProto.FLOAT)
        scaled = node("Div", [scaled, constant("full", 255)], "scaled")
        images = node("Transpose", [scaled], "planes", perm=[0, 3, 1, 2])
    hidden = node("Relu", [convolution(images, "first", 32, 3, 4, 4)], "hidden")
    heatmap = convolution(hidden, "second", 68, 32, 1, 1)
    pooled = node("Flatten", [node("GlobalAveragePool", [heatmap], "pooled")], "features")
    fc = constant("fc", rng.normal(0, 1, (68, NCLASS + 2)))
    scores = node("Gemm", [pooled, fc], "scores")
    for name, start, stop in (
        ("expression", 0, NCLASS),
        ("valence_2d", NCLASS, NCLASS + 1),
        ("arousal_2d", NCLASS + 1, NCLASS + 2),
    ):
        bounds = [constant(f"{name}_{i}", [i], np.int64) for i in (start, stop)]
        axis = constant(f"{name}_axis", [1], np.int64)
        node("Slice", [scores, *bounds, axis], name)
    flat = constant("flat", [-1], np.int64)
    for name in ("valence", "arousal"):
        if interface == "image":
            node("Reshape", [f"{name}_2d", flat], f"{name}_unclipped")
            bounds = [constant(f"{name}_low", -1), constant(f"{name}_high", 1)]
            node("Clip", [f"{name}_unclipped", *bounds], name)
        else:
            node("Reshape", [f"{name}_2d", flat], name)
    if interface == "image":
        node("Softmax", ["expression"], "probabilities", axis=1)
        rows = node("ReduceMax", [heatmap, constant("rows", [3], np.int64)], "r", keepdims=0)
        three = [constant("from", [0], np.int64), constant("to", [3], np.int64)]
        node("Slice", [rows, *three, constant("last", [2], np.int64)], "landmarks")
    else:
        node("Identity", [heatmap], "heatmap")

    inputs, outputs = tensors_of(NCLASS, interface)
    graph = helper.make_graph(
        nodes,
        "tiny",
        *(
            [
                helper.make_tensor_value_info(
                    tensor.name, TYPES[tensor.dtype], ["N", *tensor.shape[1:]]
                )
                for tensor in tensors
            ]
            for tensors in (inputs, outputs)
        ),
        initializer=weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    info = ModelInfo(
        NCLASS,
        "standin",
        precision=precision,
        interface=interface,
        target=target,
        inputs=inputs,
        outputs=outputs,
        calibration={EXACT_SUMS: True} if precision == "int8" else None,  # all are below 64
    )
    helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path
