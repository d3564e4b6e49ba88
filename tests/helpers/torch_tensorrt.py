"""TensorRT's stand-in on a real GPU without TensorRT: engines run a network in PyTorch.

The names are those of `fake_tensorrt`; what computes is a model on the GPU, on the stream and at
the addresses that it is given, so that a session's buffers, events, threads and CUDA graphs are the
real ones.
"""

import ctypes
from collections import Counter

import numpy as np
import torch
from onnx import TensorProto, numpy_helper

from helpers import fake_tensorrt
from helpers.tiny_model import NCLASS

UINT8 = TensorProto.UINT8


class _Memory:
    """Device memory at an address, which PyTorch reads as a tensor."""

    def __init__(self, address, shape, dtype):
        self.__cuda_array_interface__ = {
            "data": (int(address), False),
            "shape": tuple(shape),
            "typestr": np.dtype(dtype).str,
            "version": 3,
        }


class Machine:
    """What `fake_tensorrt` asks of a pretended GPU, answered by a real one."""

    def __init__(self):
        self.stack = [True]
        self.alive = Counter()
        self.log = []

    def call(self, name):
        """No call is made to fail here."""
        return False

    def born(self, kind):
        self.alive[kind] += 1


def make_tensorrt(version="tensorrt-11.4", device="cuda"):
    """Return a module like `tensorrt` whose contexts run the tiny model in PyTorch.

    Args:
        version: whose names it has.
        device: ``cpu`` where addresses are the host's.
    """
    trt = fake_tensorrt.make_tensorrt(Machine(), version)

    def tensor(address, shape, dtype):
        if device == "cuda":
            return torch.as_tensor(_Memory(address, shape, dtype), device="cuda")
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = (ctypes.c_uint8 * size).from_address(int(address))
        return torch.from_numpy(np.frombuffer(memory, dtype).reshape(shape))

    def on(stream):
        if device == "cuda":
            return torch.cuda.stream(torch.cuda.ExternalStream(stream))
        return torch.inference_mode()

    def execute_async_v3(self, stream_handle):
        assert set(self._addresses) == set(self._engine._values), "a tensor without address"
        (name,) = self._engine._profile
        kind = np.uint8 if self.get_tensor_dtype(name) == UINT8 else np.float32
        if not hasattr(self, "_network"):
            self._network = tiny_network(self._engine._model, device)
        with torch.inference_mode(), on(stream_handle):
            images = tensor(self._addresses[name], self.get_tensor_shape(name), kind)
            for output, values in self._network(images).items():
                shape = self.get_tensor_shape(output)
                tensor(self._addresses[output], shape, np.float32).copy_(values.reshape(shape))
        return True

    def get_tensor_dtype(self, name):
        return self._engine._values[name].type.tensor_type.elem_type

    trt.IExecutionContext.execute_async_v3 = execute_async_v3
    trt.IExecutionContext.get_tensor_dtype = get_tensor_dtype
    return trt


def tiny_network(model, device):
    """Return what `tiny_model` writes, of either interface, as PyTorch computes it."""
    weights = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()).to(device)
        for tensor in model.graph.initializer
    }
    as_image = model.graph.input[0].type.tensor_type.elem_type == UINT8

    def run(images):
        if as_image:
            images = images.permute(0, 3, 1, 2).float() / 255
        hidden = torch.relu(torch.conv2d(images, weights["first_weight"], stride=4))
        heatmap = torch.conv2d(hidden, weights["second_weight"])
        scores = heatmap.mean((2, 3)) @ weights["fc"]
        heads = {"valence": scores[:, NCLASS], "arousal": scores[:, NCLASS + 1]}
        expression = scores[:, :NCLASS]
        if not as_image:
            return heads | {"expression": expression, "heatmap": heatmap}
        landmarks = heatmap.amax(3)[..., :3]
        return heads | {"probabilities": expression.softmax(1), "landmarks": landmarks}

    return run
