"""What backends need, packages and a GPU: whether it is here, and the command that brings it."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any, Final

from emonet_deploy.emonet_ref.optional_packages import import_package, pip_install
from emonet_deploy.errors import BackendError, MissingDependencyError, one_line
from emonet_deploy.runtime.hardware.gpu import cuda_device, is_jetson
from emonet_deploy.runtime.hardware.rtx_targets import RTX_CAPABILITIES

_CUDA: Final = 13
"""Packages for this version of CUDA need a driver that runs it, from R580 on."""

_JETSON: Final = (
    "use JetPack 7's own TensorRT 10.16, in an environment made with `python -m venv "
    "--system-site-packages` (TensorRT 11 does not support JetPack; JetPack 6 has Python 3.10, "
    "which this toolkit does not run on)"
)

__all__ = [
    "CUDA_BINDINGS",
    "CUDA_DRIVER",
    "GPU",
    "MOSEC",
    "ONNXRUNTIME",
    "OPENCV",
    "OPENVINO",
    "PYCUDA",
    "RAY",
    "RTX_GPU",
    "TENSORRT",
    "TENSORRT_RTX",
    "TORCH",
    "TRITON_CLIENT",
    "TRITON_SERVER",
    "Found",
    "NvidiaGpu",
    "OneOf",
    "Package",
    "Requirement",
    "TritonServer",
    "import_required",
    "require",
]


@dataclass(frozen=True)
class Found:
    """Whether a requirement is met on this machine.

    Attributes:
        name: of the package or device.
        version: which version or device is here; None when it is missing or cannot be loaded.
        remedy: what to type, or what to do.
        problem: why it counts as missing, when it is here but cannot be loaded.
        optional: the backend does without it.
        is_device: it is no package.
    """

    name: str
    version: str | None
    remedy: str
    problem: str = ""
    optional: bool = False
    is_device: bool = False

    @property
    def state(self) -> str:
        """The version, or why it does not count as here."""
        if self.version:
            return f"{self.name} {self.version}"
        if not self.problem:
            return f"{self.name} is missing"
        verb = "does not fit" if self.is_device else "cannot be loaded"
        return f"{self.name} {verb} ({self.problem})"

    def __str__(self) -> str:
        return self.state if self.version else f"{self.state}: {self.remedy}"


@dataclass(frozen=True)
class Package:
    """A package a backend needs.

    Attributes:
        module: what is imported.
        distributions: names under which it may be installed; the first is the one recommended.
        requirement: what pip is asked for.
        note: what pip alone does not bring.
        optional: the backend does without it.
        for_cuda_12: what to install instead where the driver runs CUDA 12 only.
        blocked: a module that must not be imported with it, as it reports its use over the network.
    """

    module: str
    distributions: tuple[str, ...]
    requirement: str
    note: str = ""
    optional: bool = False
    blocked: str | None = None
    for_cuda_12: str | None = None

    @property
    def install(self) -> str:
        """The command that installs it, in the version that this machine's driver can run."""
        gpu = cuda_device()
        old = gpu is not None and int(gpu.driver.partition(".")[0]) < _CUDA
        if self is TENSORRT and is_jetson():
            return _JETSON
        command = pip_install(self.for_cuda_12 if old and self.for_cuda_12 else self.requirement)
        return f"{command} ({self.note})" if self.note else command

    def find(self) -> Found:
        """Import it, and say which version that is, or why it cannot be."""
        name, here = self.installed()
        version: str | None = None
        problem = ""
        self.block()
        try:
            module = importlib.import_module(self.module)
            version = here or str(getattr(module, "__version__", "of unknown version"))
        except ModuleNotFoundError:
            pass
        except Exception as error:  # a library that is missing, a driver that is too old ...
            problem = one_line(error)
        return Found(name, version, self.install, problem, self.optional)

    def block(self) -> None:
        """Keep what it would import to report its use from being imported."""
        if self.blocked is not None:
            # What is None here cannot be imported.
            sys.modules.setdefault(self.blocked, None)  # type: ignore[arg-type]

    def installed(self) -> tuple[str, str]:
        """Return under which of its names pip has installed it, and its version; empty if none."""
        for name in (*self.distributions, self.module.partition(".")[0]):
            try:
                return name, metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return self.distributions[0], ""


@dataclass(frozen=True)
class OneOf:
    """One of several packages that do the same.

    Attributes:
        packages: the first that can be loaded is used; the last is what people are told to install.
    """

    packages: tuple[Package, ...]

    def choose(self) -> Package:
        """Return the first that can be loaded, or the last."""
        return next((p for p in self.packages if p.find().version), self.packages[-1])

    def find(self) -> Found:
        """Say which is used, and why not one before it."""
        tried: list[Found] = []
        for package in self.packages:
            found = package.find()
            if found.version:
                why = f" (as {', '.join(other.state for other in tried)})" if tried else ""
                return replace(found, version=found.version + why, optional=False)
            tried.append(found)
        name = " or ".join(found.name for found in tried)
        problem = "; ".join(f"{found.name}: {found.problem}" for found in tried if found.problem)
        return Found(name, None, tried[-1].remedy, problem)


@dataclass(frozen=True)
class NvidiaGpu:
    """An NVIDIA GPU with its driver.

    Attributes:
        capabilities: the compute capabilities that will do; any if empty.
        runner: what runs on those only.
        instead: what to do with another GPU.
    """

    capabilities: tuple[str, ...] = ()
    runner: str = ""
    instead: str = ""

    def find(self) -> Found:
        """Ask the driver for the first GPU."""
        gpu = cuda_device()
        if gpu is None:
            remedy = "use a machine with an NVIDIA GPU and its driver"
            return Found("NVIDIA GPU", None, remedy, is_device=True)
        found = f"{gpu.name}, compute capability {gpu.compute_capability}"
        if self.capabilities and gpu.compute_capability not in self.capabilities:
            problem = f"{found}, is none that {self.runner} runs on"
            return Found("NVIDIA GPU", None, self.instead, problem, is_device=True)
        return Found("NVIDIA GPU", f"{found}, driver for CUDA {gpu.driver}", "", is_device=True)


@dataclass(frozen=True)
class TritonServer:
    """NVIDIA's tritonserver on the search path."""

    def find(self) -> Found:
        """Let it say its version, which it does when it starts; there is no option for it."""
        name, remedy = "tritonserver", "use NVIDIA's container, as `emonet triton` says"
        binary = shutil.which(name)
        if binary is None:
            return Found(name, None, remedy)
        command = [binary, f"--model-repository={os.devnull}"]
        command += [f"--allow-{door}=false" for door in ("http", "grpc", "metrics")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            return Found(name, None, remedy, one_line(error))
        said = re.search(r"server_version +\| ([\w.]+)", done.stdout + done.stderr)
        problem = "" if said else one_line(RuntimeError((done.stderr or done.stdout)[:200]))
        return Found(name, said[1] if said else None, remedy, problem)


Requirement = Package | OneOf | NvidiaGpu | TritonServer

TORCH: Final = Package("torch", ("torch",), "torch>=2.6")
ONNXRUNTIME: Final = Package(
    "onnxruntime", ("onnxruntime-gpu", "onnxruntime"), "onnxruntime-gpu>=1.22"
)
OPENCV: Final = Package(
    "cv2",
    ("opencv-python", "opencv-python-headless"),
    "opencv-python-headless>=4.11.0.86",
    "which needs no libGL.so.1, as opencv-python does: for that, apt-get install libgl1",
)
OPENVINO: Final = Package("openvino", ("openvino",), "openvino>=2025", blocked="openvino_telemetry")
TENSORRT: Final = Package(
    "tensorrt",
    ("tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt-cu13>=10.13,<12",
    for_cuda_12="tensorrt-cu12>=10.13,<12",
)
TENSORRT_RTX: Final = Package("tensorrt_rtx", ("tensorrt-rtx",), "tensorrt-rtx>=1.7.1.116")
PYCUDA: Final = Package(
    "pycuda.driver",
    ("pycuda",),
    "pycuda>=2025.1",
    "which needs the NVIDIA driver, the CUDA toolkit and a C++ compiler",
)
CUDA_BINDINGS: Final = Package(
    "cuda.bindings.driver",
    ("cuda-bindings",),
    "cuda-bindings>=13",
    optional=True,
    for_cuda_12="cuda-bindings>=12.8,<13",
)
CUDA_DRIVER: Final = OneOf((PYCUDA, CUDA_BINDINGS))
GPU: Final = NvidiaGpu()
RTX_GPU: Final = NvidiaGpu(
    RTX_CAPABILITIES, "TensorRT-RTX", "use --engine trt, which runs on every NVIDIA GPU from 7.5 on"
)
MOSEC: Final = Package("mosec", ("mosec",), "mosec>=0.9.8")
RAY: Final = Package("ray.data", ("ray",), "ray[data]>=2.60")
TRITON_CLIENT: Final = Package(
    "tritonclient.grpc", ("tritonclient",), "tritonclient[grpc]", optional=True
)
TRITON_SERVER: Final = TritonServer()


def import_required(package: Package, purpose: str) -> Any:  # noqa: ANN401 - a module without types
    """Import a package that must be here.

    Args:
        package: what.
        purpose: completes "is needed to ...".

    Raises:
        MissingDependencyError: it is not installed; the message has the command.
        BackendError: it is installed but cannot be loaded.
    """
    package.block()
    return import_package(package.module, purpose, package.install)


def require(requirements: Sequence[Requirement], what: str, instead: str) -> None:
    """Raise unless all requirements that are not optional are met.

    Args:
        requirements: packages and devices.
        what: completes "cannot ... here".
        instead: what else the user can do, when something is missing.

    Raises:
        MissingDependencyError: packages are missing; the message names all of them, with the
            commands, and what to use instead.
        BackendError: the packages are here, but no GPU, or one of them cannot be loaded.
    """
    found = [requirement.find() for requirement in requirements]
    missing = [item for item in found if not (item.version or item.optional)]
    if not missing:
        return
    broken = all(item.problem or item.is_device for item in missing)
    raise (BackendError if broken else MissingDependencyError)(
        f"cannot {what} here: {', '.join(item.state for item in missing)}",
        hint=f"{'; '.join(item.remedy for item in missing)}; or {instead}",
    )
