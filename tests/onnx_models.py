"""ONNX models for tests of export: made once, run on ONNX Runtime."""

import functools

import golden
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto

from emonet_deploy.export.to_onnx import to_model


@functools.cache
def golden_model(nclass=8):
    """The network with the golden weights, exported; not to be changed."""
    return to_model(golden.model(nclass))


def golden_images(n, pixels=False):
    """The golden images: float32 N x 3 x 256 x 256, or uint8 N x 256 x 256 x 3."""
    images = golden.images(4, int(golden.load("forward_8.npz")["image_seed"]))[:n]
    if pixels:
        return images
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / 255


def run(model, images, optimize=True):
    """Run a model on ONNX Runtime's CPU provider; returns its outputs by name."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


def node_types(model):
    """The element type of each node's first output, by the node's name."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {v.name: TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in values}
    return {node.name: types[node.output[0]] for node in model.graph.node}
