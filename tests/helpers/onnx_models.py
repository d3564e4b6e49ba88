"""ONNX models for tests of export: made once, run on ONNX Runtime."""

import functools
import os
from collections import Counter
from pathlib import Path

import filelock
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto

from emonet_deploy.export.onnx import export_onnx
from emonet_deploy.export.quantization.qparams import QuantizedConv
from helpers import golden

# The folder that all workers of one run share; ``conftest.py`` sets it. Exporting takes 12 s.
SHARED_FOLDER = "EMONET_TESTS_SHARED"


def golden_file(nclass=8):
    """Path of the network with the golden weights as ONNX; made once for all workers."""
    path = Path(os.environ[SHARED_FOLDER]) / f"golden_{nclass}.onnx"
    with filelock.FileLock(f"{path}.lock"):
        if not path.exists():
            export_onnx(golden.model(nclass), path, f"sha256:{'0' * 64}")
    return path


@functools.cache
def golden_model(nclass=8):
    """The same in memory, without a record; not to be changed."""
    model = onnx.load(golden_file(nclass))
    del model.metadata_props[:]
    return model


def rewritten(model, *passes):
    """Return a copy of a model that went through graph passes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph_pass in passes:
        graph_pass(copy)
    return copy


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


def optimized_operators(model, folder):
    """How many nodes of each operator ONNX Runtime's CPU provider runs for a model."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns that the saved graph is this machine's
    path = folder / "optimized.onnx"
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def nearest(weight, steps, levels=127, bias=None):
    """A convolution in int8 with its weights rounded to the nearest; no bias unless given."""
    scales = (np.abs(weight).max((1, 2, 3)) / np.float32(levels)).astype(np.float32)
    integers = np.rint(weight / scales.reshape(-1, 1, 1, 1)).astype(np.int8)
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    return QuantizedConv(steps, integers, scales, bias)


def sums_fit_16_bits(weight):
    """Whether uint8 times two neighbouring input channels' weights always adds up in 16 bits."""
    pairs = 255 * np.asarray(weight, int).reshape(len(weight), -1, 2, *weight.shape[2:])
    limits = np.iinfo(np.int16)
    most, least = np.maximum(pairs, 0).sum(2).max(), np.minimum(pairs, 0).sum(2).min()
    return limits.min <= least and most <= limits.max


def node_types(model):
    """The element type of each node's first output, by the node's name."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {v.name: TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in values}
    return {node.name: types[node.output[0]] for node in model.graph.node}
