"""What runs here and what is missing, with the commands that bring the rest.

Backends by their table; beside them what every run needs, or trips over: OpenCV, two packages that
overwrite each other, face detectors, the cache folder, how many processors may be used.
"""

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Final, Literal

from emonet_deploy.emonet_ref.optional_packages import EXTRAS, pip_install
from emonet_deploy.emonet_ref.storage.atomic_write import require_writable
from emonet_deploy.emonet_ref.storage.cache import CACHE_ADVICE, cache_dir
from emonet_deploy.errors import EmonetError
from emonet_deploy.runtime.backends.registry import BACKENDS, Purpose
from emonet_deploy.runtime.hardware.cpu import processor, usable_processors
from emonet_deploy.runtime.requirements import (
    MOSEC,
    ONNXRUNTIME,
    OPENCV,
    RAY,
    TRITON_SERVER,
    Requirement,
)

__all__ = ["Examination", "examine", "examine_clusters", "examine_machine", "examine_servers"]

_TWINS: Final = (
    ("onnxruntime-gpu", "onnxruntime"),
    ("opencv-python", "opencv-python-headless"),
)
"""Packages that install into one folder: of both, whichever came last has overwritten files."""

_Purpose = Purpose | Literal["serve", "batch", "check"]

_TELEMETRY: Final = "ORT_DISABLE_TELEMETRY"


@dataclass(frozen=True)
class Examination:
    """What a backend, or a part of the machine, has and lacks for a purpose.

    Attributes:
        backend: its name, or that of the part.
        purpose: ``run`` or ``build`` for a backend, ``serve`` for a server, ``batch`` for
            many machines, ``check`` for a part.
        has: what was found, with versions.
        missing: what it cannot do without, each with the command that brings it.
        optional: what it can do without, likewise.
    """

    backend: str
    purpose: _Purpose
    has: tuple[str, ...]
    missing: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether all that is needed is here."""
        return not self.missing


def examine() -> list[Examination]:
    """Examine every backend: what runs here, what can be built here, and what is missing."""
    running = [_examine(name, "run", spec.run) for name, spec in BACKENDS.items()]
    return running + [
        _examine(name, "build", spec.build) for name, spec in BACKENDS.items() if spec.build
    ]


def examine_servers() -> list[Examination]:
    """Examine what puts EmoNet behind an address here."""
    return [
        _examine("mosec", "serve", (MOSEC,)),
        _examine("triton", "serve", (TRITON_SERVER,)),
    ]


def examine_clusters() -> list[Examination]:
    """Examine what runs over many machines from here."""
    return [_examine("ray", "batch", (RAY,))]


def examine_machine() -> list[Examination]:
    """Examine what every run needs beside its backend, and what is known to go wrong."""
    model, _ = processor()
    cores = f"{usable_processors()} of {os.cpu_count()} processors may be used"
    return [
        Examination("processor", "check", (model, cores)),
        _examine("opencv", "check", (OPENCV,)),
        _conflicts(),
        _detectors(),
        _cache(),
        _telemetry(),
    ]


def _examine(name: str, purpose: _Purpose, requirements: Sequence[Requirement]) -> Examination:
    found = [requirement.find() for requirement in requirements]
    absent = [item for item in found if item.version is None]
    has = [str(item) for item in found if item.version]
    if ONNXRUNTIME in requirements and has:
        onnxruntime = importlib.import_module(ONNXRUNTIME.module)
        # Those it was built with; which of them starts, a session tells.
        has.append(f"built with {', '.join(onnxruntime.get_available_providers())}")
    return Examination(
        name,
        purpose,
        has=tuple(has),
        missing=tuple(str(item) for item in absent if not item.optional),
        optional=tuple(str(item) for item in absent if item.optional),
    )


def _conflicts() -> Examination:
    both = [
        f"{first} and {second} are both installed and overwrite each other: pip uninstall -y "
        f"{first} {second}, then install one of them"
        for first, second in _TWINS
        if _is_installed(first) and _is_installed(second)
    ]
    return Examination("packages", "check", () if both else ("no conflict",), tuple(both))


def _detectors() -> Examination:
    """Which face detectors are at hand; pictures that are face crops need none."""
    try:
        from emonet_deploy.runtime.detection import centerface, yunet
    except ImportError:  # of OpenCV, which has a row of its own
        return Examination("detectors", "check", (), (), ("they need OpenCV",))
    has, lacks = [], []
    if centerface.is_installed():
        has.append("centerface")
    else:
        lacks.append(f"centerface is missing: {pip_install(*EXTRAS['faces'])}")
    if yunet.is_cached():
        has.append("yunet")
    else:
        lacks.append("yunet is not cached: --detector yunet fetches it once")
    return Examination("detectors", "check", tuple(has), () if has else tuple(lacks), tuple(lacks))


def _cache() -> Examination:
    try:
        folder = cache_dir()
        require_writable(folder / "probe", advice=CACHE_ADVICE)
    except EmonetError as error:
        return Examination("cache", "check", (), (str(error),))
    return Examination("cache", "check", (str(folder),))


def _telemetry() -> Examination:
    # Set where this package is imported; who imported ONNX Runtime before that has missed it.
    if os.environ.get(_TELEMETRY) == "1":
        return Examination("telemetry", "check", ("off",))
    lacks = f"ONNX Runtime reports its use to its makers: set {_TELEMETRY}=1"
    return Examination("telemetry", "check", (), (lacks,))


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
