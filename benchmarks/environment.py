"""What a measurement was made on: without it a figure means little."""

import os
import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from emonet_deploy import __version__
from emonet_deploy.runtime.devices import cuda_device_count

__all__ = ["describe_environment"]

_PACKAGES: Final = (
    "numpy",
    "opencv-python",
    "onnx",
    "onnxruntime-gpu",
    "onnxruntime",
    "torch",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "pycuda",
    "openvino",
)
_FLAGS: Final = frozenset(
    {"avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"}
    | {"asimd", "asimddp", "i8mm"}
)
"""Instruction sets that decide how fast convolutions run."""


def describe_environment() -> dict[str, Any]:
    """Return machine, system, versions and load, all of it JSON."""
    model, flags = _processor()
    return {
        "toolkit": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": model,
        "cpu_flags": [flag for flag in _FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "cuda_devices": cuda_device_count(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _cores() -> int | None:
    """Cores this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()


def _version(package: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def _processor() -> tuple[str, set[str]]:
    """Model name and instruction sets, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    fields = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    return fields.get("model name", platform.machine()), flags
