"""What a measurement was made on: without it a figure means little."""

import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final

from emonet_deploy import __version__
from emonet_deploy.runtime.backends.registry import BACKENDS
from emonet_deploy.runtime.hardware.cpu import (
    convolution_instructions,
    processor,
    usable_processors,
)
from emonet_deploy.runtime.hardware.gpu import cuda_device_count
from emonet_deploy.runtime.hardware.nvidia_smi import describe_gpu
from emonet_deploy.runtime.requirements import OneOf, Package

__all__ = ["describe_environment"]

_PACKAGES: Final = ("numpy", "opencv-python", "opencv-python-headless", "onnx")
"""Packages that matter to every backend; those of each are in the table of backends."""


def describe_environment() -> dict[str, Any]:
    """Return machine, system, versions and load, all of it JSON."""
    model, flags = processor()
    return {
        "toolkit": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": model,
        "cpu_flags": sorted(convolution_instructions(flags)),
        "cores": usable_processors(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "cuda_devices": cuda_device_count(),
        "gpu": describe_gpu() if cuda_device_count() else None,
        "packages": {name: version for name in _packages() if (version := _version(name))},
    }


def _packages() -> list[str]:
    """Names under which packages that take part may be installed."""
    needs = [need for spec in BACKENDS.values() for need in spec.run]
    needed = [need for need in needs if isinstance(need, Package)]
    needed += [package for need in needs if isinstance(need, OneOf) for package in need.packages]
    return list(dict.fromkeys([*_PACKAGES, *(n for need in needed for n in need.distributions)]))


def _version(package: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None
