"""What the card does at best: copies, matrix products, and how long a launch takes.

Measured with PyTorch, whose products are NVIDIA's own; no figure of a data sheet.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch

from emonet_deploy.benchmarks.gpu.stage import LeftOutError, Record, attempt

__all__ = ["measure_ceilings", "require_torch"]

_MEGABYTES: Final = 64
_SIZE: Final = 4096
_LAUNCHES: Final = 200


def require_torch(device: str) -> None:
    """Raise ``LeftOutError`` unless PyTorch computes on a device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise LeftOutError(f"PyTorch {torch.__version__} sees no CUDA device")


def measure_ceilings(record: Record, device: str, size: int = _SIZE, seconds: float = 0.5) -> None:
    """Measure what bounds every engine, a row each.

    Args:
        record: for the rows.
        device: ``cuda``, or ``cpu`` for tests.
        size: of the matrices.
        seconds: for each row, warm-up not counted.

    Raises:
        LeftOutError: PyTorch has no such device.
    """
    require_torch(device)
    wait = torch.cuda.synchronize if device == "cuda" else _nothing
    n = _MEGABYTES * size // _SIZE << 20
    here = torch.empty(n, dtype=torch.uint8, pin_memory=device == "cuda")
    there = torch.empty(n, dtype=torch.uint8, device=device)
    other = torch.empty_like(there)
    copies: dict[str, Callable[[], Any]] = {
        "copy to the device": lambda: there.copy_(here, non_blocking=True),
        "copy from the device": lambda: here.copy_(there, non_blocking=True),
        "copy on the device": lambda: other.copy_(there),
    }
    for name, copy in copies.items():
        with attempt(record, name):
            # What is copied on the device is read and written.
            moved = n * (2 if name.endswith("on the device") else 1)
            record.add(name=name, unit="GB/s", value=moved / _best(copy, wait, seconds) / 1e9)
    for name, kind in (("fp32", torch.float32), ("tf32", torch.float32), ("fp16", torch.float16)):
        with attempt(record, f"matrix product {name}"):
            torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
            a = torch.randn(size, size, device=device).to(kind)
            took = _best(partial(torch.mm, a, a), wait, seconds)
            record.add(
                name=f"matrix product {name}", unit="TFLOPS", value=2 * size**3 / took / 1e12
            )
    torch.backends.cuda.matmul.allow_tf32 = False
    with attempt(record, "matrix product int8"):
        a = torch.randint(-8, 8, (size, size), dtype=torch.int8, device=device)
        # Column-major on the right, as the tensor cores want it.
        b = torch.randint(-8, 8, (size, size), dtype=torch.int8, device=device).t()
        multiply: Any = torch._int_mm  # the one product in int8 that PyTorch has
        took = _best(lambda: multiply(a, b), wait, seconds)
        record.add(name="matrix product int8", unit="TFLOPS", value=2 * size**3 / took / 1e12)
    if device == "cuda":
        with attempt(record, "launch in a graph"):
            record.add(name="launch in a graph", unit="us", value=_launch(wait, seconds) * 1e6)


def _best(call: Callable[[], Any], wait: Callable[[], Any], seconds: float) -> float:
    """Return seconds of the best call, after a warm-up by time."""
    end = time.perf_counter() + seconds / 2
    while time.perf_counter() < end:
        call()
        wait()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 3:
        start = time.perf_counter()
        call()
        wait()
        found.append(time.perf_counter() - start)
    return min(found)


def _launch(wait: Callable[[], Any], seconds: float) -> float:
    """Return seconds from one kernel of a graph that does next to nothing to the next."""
    value = torch.zeros(1, device="cuda")
    value.add_(1)
    wait()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(_LAUNCHES):
            value.add_(1)
    return _best(graph.replay, wait, seconds) / _LAUNCHES


def _nothing() -> None:
    """A CPU has done what it was told when it returns."""
