"""What the machine can do: multiply-accumulates per second, by the fastest library at hand.

A large matrix product by each library that is here, in float32 and in int8. The fastest of each
type is the peak of that type: shares of a slower one's would exceed the whole.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from emonet_deploy.runtime.choices import Precision
from emonet_deploy.runtime.hardware.cpu import processor, usable_processors

__all__ = ["ARITHMETIC", "Arithmetic", "Probe", "fastest", "probes"]

Arithmetic = Literal["float32", "bfloat16", "int8"]

ARITHMETIC: Final[Mapping[Precision, Arithmetic]] = {
    "fp32": "float32",
    "fp16": "float32",  # processors convert it
    "bf16": "bfloat16",
    "int8": "int8",
}
"""What a processor computes a model of a precision in, at most."""

_BFLOAT16: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Instructions that multiply in bfloat16, as Linux calls them."""

_TRIES: Final = 4
_LARGE: Final = 8
"""Processors from which a product of 1024 is too small to keep all of them busy."""


@dataclass(frozen=True)
class Probe:
    """A matrix product by one library."""

    library: str
    arithmetic: Arithmetic
    macs: int
    call: Callable[[], object]


def fastest(
    candidates: Iterator[Probe], clock: Callable[[], float] = time.perf_counter
) -> dict[Arithmetic, Probe]:
    """Return the probe of each arithmetic whose best call is fastest."""
    best: dict[Arithmetic, tuple[float, Probe]] = {}
    for probe in candidates:
        rates = []
        for _ in range(_TRIES):
            start = clock()
            probe.call()
            rates.append(probe.macs / max(clock() - start, 1e-9))
        rate = max(rates)
        if probe.arithmetic not in best or rate > best[probe.arithmetic][0]:
            best[probe.arithmetic] = rate, probe
    return {arithmetic: probe for arithmetic, (_, probe) in best.items()}


def probes(threads: int | None = None, size: int | None = None) -> Iterator[Probe]:
    """Give each library's products, on as many threads as the sessions have.

    Args:
        threads: None is each library's own choice; sets PyTorch's for the whole process.
        size: of the matrices; by default large enough for this machine.
    """
    size = size or (1024 if usable_processors() < _LARGE else 2048)
    macs = size**3
    left, right = torch.rand(2, size, size)
    product = torch.empty(size, size)
    if threads is not None:
        torch.set_num_threads(threads)
    yield Probe("PyTorch", "float32", macs, lambda: torch.mm(left, right, out=product))
    # Without instructions for it this takes a second, and no row needs it.
    if not _BFLOAT16.isdisjoint(processor()[1]):
        halves = left.bfloat16(), right.bfloat16()
        yield Probe("PyTorch", "bfloat16", macs, lambda: torch.mm(*halves))
    a, b = left.numpy(), right.numpy()
    # NumPy takes all processors, whatever the sessions have: no peak of fewer threads.
    if threads is None or threads >= usable_processors():
        out = np.empty((size, size), np.float32)
        yield Probe("NumPy", "float32", macs, lambda: np.matmul(a, b, out=out))
    model = {"float32": _product(size), "int8": _int8_product(size)}
    small = np.random.default_rng(0).integers(0, 63, (size, size), np.uint8)
    given: dict[Arithmetic, Any] = {"float32": a, "int8": small}
    for arithmetic, values in given.items():
        for name, load in (("ONNX Runtime", _in_onnxruntime), ("OpenVINO", _in_openvino)):
            run = load(model[arithmetic], threads, values)
            if run is not None:
                yield Probe(name, arithmetic, macs, run)


def _product(size: int) -> bytes:
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.random((size, size), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return _model(nodes, [weights], TensorProto.FLOAT, TensorProto.FLOAT, size)


def _int8_product(size: int) -> bytes:
    """A product of uint8 and int8 that sums in int32, as convolutions in int8 do.

    The values are small: their sums by pairs fit 16 bits on processors without VNNI, too.
    """
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.integers(-63, 63, (size, size), np.int8), "w")
    nodes = [helper.make_node("MatMulInteger", ["x", "w"], ["y"])]
    return _model(nodes, [weights], TensorProto.UINT8, TensorProto.INT32, size)


def _model(nodes: list[Any], weights: list[Any], kind: int, result: int, size: int) -> bytes:
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", kind, [size, size])],
        [helper.make_tensor_value_info("y", result, [size, size])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())


def _in_onnxruntime(
    model: bytes, threads: int | None, values: object
) -> Callable[[], object] | None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(["y"], {"x": values})


def _in_openvino(model: bytes, threads: int | None, values: object) -> Callable[[], object] | None:
    from emonet_deploy.runtime.requirements import OPENVINO

    if OPENVINO.find().version is None:
        return None
    import openvino

    core = openvino.Core()
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
        request.infer({0: values})
    except RuntimeError:  # an operator it does not have
        return None
    return lambda: request.infer({0: values})
