"""What each backend needs, what of it is here, and the command that brings the rest."""

import importlib
from dataclasses import dataclass
from importlib import metadata
from typing import Final, Literal

from emonet_deploy.errors import BackendError, MissingDependencyError, one_line
from emonet_deploy.runtime.backends.openvino import INSTALL_OPENVINO, no_telemetry
from emonet_deploy.runtime.backends.registry import BACKENDS
from emonet_deploy.runtime.backends.tensorrt.cuda import INSTALL_PYCUDA, PYCUDA_NEEDS
from emonet_deploy.runtime.backends.tensorrt.library import INSTALL, PACKAGES
from emonet_deploy.runtime.hardware.gpu import cuda_device
from emonet_deploy.runtime.types import Backend

__all__ = ["Examination", "Purpose", "Requirement", "examine", "require", "requirements"]

Purpose = Literal["build", "run"]

_INSTEAD: Final[dict[tuple[Backend, Purpose], str]] = {
    ("trt", "build"): "build with --engine trt-rtx, which needs no GPU, or use the ONNX model "
    "itself with --engine onnx",
    ("trt-rtx", "build"): "use the ONNX model itself with --engine onnx",
}
"""What else to do; for all else, take ONNX Runtime."""


@dataclass(frozen=True)
class Requirement:
    """One thing a backend needs.

    Attributes:
        name: of a package or a device.
        found: which version or device is here; None when it is missing or cannot be loaded.
        remedy: what to type, or what to do.
        problem: why it counts as missing, when it is here but cannot be loaded.
        optional: the backend does without it.
    """

    name: str
    found: str | None
    remedy: str
    problem: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Examination:
    """What a backend has and lacks for a purpose on this machine."""

    backend: Backend
    purpose: Purpose
    has: tuple[str, ...]
    missing: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether all that is needed is here."""
        return not self.missing


def examine() -> list[Examination]:
    """Examine every backend: what runs here, what can be built here, and what is missing."""
    return [_examine(backend, "run") for backend in BACKENDS] + [
        _examine(kind, "build") for kind in PACKAGES
    ]


def _examine(backend: Backend, purpose: Purpose) -> Examination:
    needs = requirements(backend, purpose)
    absent = [need for need in needs if need.found is None]
    return Examination(
        backend,
        purpose,
        has=tuple(f"{need.name} {need.found}" for need in needs if need.found),
        missing=tuple(_described(need) for need in absent if not need.optional),
        optional=tuple(_described(need) for need in absent if need.optional),
    )


def requirements(backend: Backend, purpose: Purpose = "run") -> list[Requirement]:
    """Return what a backend needs to run artifacts, or an engine to be built, on this machine."""
    match backend:
        case "torch":
            return [_package("torch", "torch", "pip install torch")]
        case "onnx":
            return [_package("onnxruntime", "onnxruntime-gpu", "pip install onnxruntime-gpu")]
        case "openvino":
            no_telemetry()
            return [_package("openvino", "openvino", INSTALL_OPENVINO)]
        case "trt":
            library = _package("tensorrt", "tensorrt-cu13", INSTALL["trt"])
        case "trt-rtx":
            library = _package("tensorrt_rtx", "tensorrt-rtx", INSTALL["trt-rtx"])
    if purpose == "build":
        return [library, _gpu()] if backend == "trt" else [library]
    pycuda = _package("pycuda.driver", "pycuda", f"{INSTALL_PYCUDA} ({PYCUDA_NEEDS})")
    graphs = _package("cuda.bindings", "cuda-bindings", "pip install cuda-bindings", optional=True)
    return [library, _gpu(), pycuda, graphs]


def require(backend: Backend, purpose: Purpose) -> None:
    """Raise unless a backend can run artifacts here, or its engines can be built.

    Raises:
        MissingDependencyError: packages are missing; the message names all of them, with the
            commands, and what to use instead.
        BackendError: the packages are here, but no GPU, or one of them cannot be loaded.
    """
    missing = [n for n in requirements(backend, purpose) if not (n.found or n.optional)]
    if not missing:
        return
    problem = all(need.problem or need.name == _GPU for need in missing)
    what = f"engines of the kind {backend}" if backend in PACKAGES else f"models on {backend}"
    raise (BackendError if problem else MissingDependencyError)(
        f"cannot {purpose} {what} here: {', '.join(map(_state, missing))}",
        hint=f"{'; '.join(need.remedy for need in missing)}; "
        f"or {_INSTEAD.get((backend, purpose), 'use --engine onnx')}",
    )


_GPU: Final = "NVIDIA GPU"


def _gpu() -> Requirement:
    gpu = cuda_device()
    found = f"{gpu.name}, compute capability {gpu.compute_capability}" if gpu else None
    return Requirement(_GPU, found, "use a machine with an NVIDIA GPU and its driver")


def _package(module: str, package: str, remedy: str, *, optional: bool = False) -> Requirement:
    found, problem = None, ""
    try:
        importlib.import_module(module)
        found = _version(package, module)
    except ModuleNotFoundError:
        pass
    except Exception as error:  # a library that is missing, a driver that is too old ...
        problem = one_line(error)
    return Requirement(package, found, remedy, problem, optional)


def _version(package: str, module: str) -> str:
    """Return the version, which the CUDA and CPU variants of a package have under other names."""
    for name in (package, module.partition(".")[0]):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def _described(need: Requirement) -> str:
    return f"{_state(need)}: {need.remedy}"


def _state(need: Requirement) -> str:
    return f"{need.name} " + (
        f"cannot be loaded ({need.problem})" if need.problem else "is missing"
    )
