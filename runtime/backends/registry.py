"""The table of backends, and the one way to run an artifact: ``load_session(path).run(images)``."""

import importlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final, Literal, Protocol, cast, get_args

from emonet_deploy.emonet_ref.checkpoint_file_kind import is_checkpoint
from emonet_deploy.emonet_ref.storage.path_access import is_file
from emonet_deploy.errors import BackendError, InputError
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.choices import Backend, Device
from emonet_deploy.runtime.metadata import read_info
from emonet_deploy.runtime.precision_specs import PRECISIONS
from emonet_deploy.runtime.requirements import (
    CUDA_BINDINGS,
    CUDA_DRIVER,
    GPU,
    ONNXRUNTIME,
    OPENVINO,
    RTX_GPU,
    TENSORRT,
    TENSORRT_RTX,
    TORCH,
    TRITON_CLIENT,
    Requirement,
    require,
)

__all__ = [
    "BACKENDS",
    "SUFFIXES",
    "ArtifactKind",
    "BackendSpec",
    "OpenSession",
    "Purpose",
    "artifact_kind",
    "backends_of",
    "load_session",
    "require_backend",
    "require_device",
]

_LOGGER = logging.getLogger(__name__)

MAX_THREADS: Final = 1024
"""More would only cost memory."""

ArtifactKind = Literal["checkpoint", "onnx", "engine", "served"]
Purpose = Literal["build", "run"]

SUFFIXES: Final[Mapping[ArtifactKind, tuple[str, ...]]] = {
    "checkpoint": (".pth", ".pt"),
    "onnx": (".onnx",),
    "engine": (".plan", ".engine"),
    "served": (),
}
"""What kind of artifact a file is, told by its ending; a served one has an address instead."""


class OpenSession(Protocol):
    """The function that each backend's file has under the name ``open_session``."""

    def __call__(
        self, path: str | os.PathLike[str], device: Device, threads: int | None, graph: bool | None
    ) -> Session:
        """Load an artifact; see ``load_session``. What a backend has no use for it leaves aside."""
        ...


@dataclass(frozen=True)
class BackendSpec:
    """One way to run artifacts.

    Attributes:
        title: its name in messages.
        runs: the kind of artifact it runs.
        module: its file, which has an ``open_session``; imported when it is used.
        devices: where it runs.
        run: what must be here for it to run artifacts.
        build: what must be here for its engines to be built; empty where it has none.
        engine_package: the package whose engines it runs, as their record has it.
        instead: what to do where its engines cannot be built.
    """

    title: str
    runs: ArtifactKind
    module: str
    devices: tuple[Device, ...]
    run: tuple[Requirement, ...]
    build: tuple[Requirement, ...] = ()
    engine_package: str | None = None
    instead: str = ""

    def requirements(self, purpose: Purpose) -> tuple[Requirement, ...]:
        """Return what must be here for a purpose."""
        return self.build if purpose == "build" else self.run


_HERE: Final = "emonet_deploy.runtime.backends"
_USE_ONNX: Final = "use the ONNX model itself with --engine onnx"

BACKENDS: Final[Mapping[Backend, BackendSpec]] = {
    "torch": BackendSpec(
        "PyTorch", "checkpoint", f"{_HERE}.pytorch", ("cpu", "cuda"), run=(TORCH,)
    ),
    "onnx": BackendSpec(
        "ONNX Runtime", "onnx", f"{_HERE}.onnxruntime", ("cpu", "cuda"), run=(ONNXRUNTIME,)
    ),
    "openvino": BackendSpec("OpenVINO", "onnx", f"{_HERE}.openvino", ("cpu",), run=(OPENVINO,)),
    "trt": BackendSpec(
        "TensorRT",
        "engine",
        f"{_HERE}.tensorrt.session",
        ("cuda",),
        run=(TENSORRT, GPU, CUDA_DRIVER, CUDA_BINDINGS),
        build=(TENSORRT, GPU),
        engine_package=TENSORRT.module,
        instead=f"build with --engine trt-rtx, which needs no GPU, or {_USE_ONNX}",
    ),
    "trt-rtx": BackendSpec(
        "TensorRT-RTX",
        "engine",
        f"{_HERE}.tensorrt.rtx_session",
        ("cuda",),
        run=(TENSORRT_RTX, RTX_GPU, CUDA_DRIVER, CUDA_BINDINGS),
        build=(TENSORRT_RTX,),
        engine_package=TENSORRT_RTX.module,
        instead=_USE_ONNX,
    ),
    "v2": BackendSpec(
        "A served model", "served", f"{_HERE}.remote", devices=(), run=(TRITON_CLIENT,)
    ),
}
"""Every backend, by name; of those that run one kind of artifact, the first is the default."""


def artifact_kind(path: str | os.PathLike[str]) -> ArtifactKind:
    """Return what kind of artifact is meant.

    A file is told by its ending or, of a checkpoint, its content; an address is a served artifact.

    Raises:
        InputError: the ending is none of ``SUFFIXES``, and it is no checkpoint.
    """
    if "://" in os.fspath(path):
        return "served"
    suffix = Path(path).suffix.lower()
    for kind, suffixes in SUFFIXES.items():
        if suffix in suffixes:
            return kind
    if is_checkpoint(path):
        return "checkpoint"
    raise InputError(
        f"cannot tell what {os.fspath(path)} is; expected a checkpoint (.pth), "
        "an ONNX model (.onnx) or an engine (.plan)"
    )


def backends_of(path: str | os.PathLike[str]) -> tuple[Backend, ...]:
    """Return the backends that run a file; the first is the default.

    Raises:
        InputError: the ending is none of ``SUFFIXES``.
        ArtifactError: it is an engine or an ONNX model without a record.
    """
    kind = artifact_kind(path)
    fitting = {name: spec for name, spec in BACKENDS.items() if spec.runs == kind}
    if kind == "engine":
        engine = read_info(path).engine
        package = engine.package if engine is not None else None
        # A record that names neither package is refused by the backend, which says why.
        exact = tuple(name for name, spec in fitting.items() if spec.engine_package == package)
        return exact or tuple(fitting)[:1]
    if kind == "onnx" and is_file(path):
        return PRECISIONS[read_info(path).precision].backends or tuple(fitting)
    return tuple(fitting)


def require_backend(backend: Backend, purpose: Purpose) -> None:
    """Raise unless a backend can run artifacts here, or its engines can be built.

    Raises:
        MissingDependencyError: packages are missing; the message names all of them, with the
            commands, and what to use instead.
        BackendError: the packages are here, but no GPU, or one of them cannot be loaded.
    """
    spec = BACKENDS[backend]
    what = f"engines of the kind {backend}" if spec.build else f"models on {backend}"
    instead = (spec.instead if purpose == "build" else "") or "use --engine onnx"
    require(spec.requirements(purpose), f"{purpose} {what}", instead)


def require_device(backend: Backend, device: Device) -> None:
    """Raise ``BackendError`` if artifacts shall run where their backend does not run them."""
    spec = BACKENDS[backend]
    if device != "auto" and device not in spec.devices:
        if not spec.devices:
            raise BackendError(f"{spec.title} runs where its server has put it; drop --device")
        where = "on the CPU; use --device cpu" if spec.devices == ("cpu",) else "on a GPU"
        raise BackendError(f"{spec.title} runs {where}, or --engine onnx")


def load_session(
    path: str | os.PathLike[str],
    backend: Backend | None = None,
    device: Device = "auto",
    threads: int | None = None,
    graph: bool | None = None,
) -> Session:
    """Load an artifact and make it ready to run.

    Args:
        path: a checkpoint, an ONNX model, an engine, or the address of a served one, such as
            ``http://host:8000/v2/models/emonet``.
        backend: what shall run it; by default told by the file.
        device: ``cuda`` or ``cpu`` is binding: an error when it is not there, never a silent
            fallback. ``auto`` takes CUDA where it works and the CPU elsewhere;
            ``Session.device`` tells which.
        threads: CPU threads for one run; by default the library's own choice. On ONNX Runtime and
            OpenVINO a batch of as many images or more is shared out among so many threads, by
            default one for each processor.
        graph: run an engine as CUDA graphs: by default where that works, True warns where it
            does not, False never; nothing to the other backends.

    Raises:
        ArtifactError: the file is missing, damaged, foreign or made for another machine.
        CheckpointError: the checkpoint cannot be used.
        BackendError: the backend or device is not there.
        InputError: the file's ending or an option makes no sense.
        MissingDependencyError: the backend's package is not installed.

    Example:
        >>> import numpy as np
        >>> with load_session("artifacts/emonet_8.fp32.onnx", device="cpu") as session:
        ...     outputs = session.run(np.zeros((2, 3, 256, 256), np.float32))
        >>> {name: array.shape for name, array in outputs.items()}["heatmap"]
        (2, 68, 64, 64)
    """
    if device not in get_args(Device):
        raise InputError(f"there is no device {device!r}; choose {', '.join(get_args(Device))}")
    if threads is not None and not (type(threads) is int and 1 <= threads <= MAX_THREADS):
        raise InputError(f"threads must be a whole number from 1 to {MAX_THREADS}, not {threads}")
    fitting = backends_of(path)
    if backend is not None and backend not in fitting:
        raise InputError(
            f"{os.fspath(path)} is run by the backend {' or '.join(fitting)}, not by {backend}"
        )
    begun = perf_counter()
    module = importlib.import_module(BACKENDS[backend or fitting[0]].module)
    session = cast("OpenSession", module.open_session)(path, device, threads, graph)
    _LOGGER.info(
        "%s is run by %s (%s) on %s; loaded in %.2f s",
        os.fspath(path), session.backend, session.provider, session.device, perf_counter() - begun,
    )  # fmt: skip
    return session
