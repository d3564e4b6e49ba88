"""The table of backends, and the one way to run an artifact: ``load_session(path).run(images)``."""

import logging
import os
from pathlib import Path
from time import perf_counter
from typing import Final

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.base import Session
from emonet_deploy.runtime.types import Backend, Device

__all__ = ["BACKENDS", "backends_of", "load_session"]

_LOGGER = logging.getLogger(__name__)

BACKENDS: Final[tuple[Backend, ...]] = ("torch", "onnx", "openvino", "trt", "trt-rtx")


def backends_of(path: str | os.PathLike[str]) -> tuple[Backend, ...]:
    """Return the backends that run a file, told by its ending; the first is the default.

    Raises:
        InputError: the ending is none of ``.pth``, ``.pt``, ``.onnx``, ``.plan``, ``.engine``.
    """
    match Path(path).suffix.lower():
        case ".pth" | ".pt":
            return ("torch",)
        case ".onnx":
            return ("onnx", "openvino")
        case ".plan" | ".engine":
            from emonet_deploy.runtime.metadata import read_info

            engine = read_info(path).engine
            rtx = engine is not None and engine.package == "tensorrt_rtx"
            return ("trt-rtx",) if rtx else ("trt",)
        case _:
            raise InputError(
                f"cannot tell what {os.fspath(path)} is; expected a checkpoint (.pth), "
                "an ONNX model (.onnx) or an engine (.plan)"
            )


def load_session(
    path: str | os.PathLike[str],
    backend: Backend | None = None,
    device: Device = "auto",
    threads: int | None = None,
    graph: bool = False,
) -> Session:
    """Load an artifact and make it ready to run.

    Args:
        path: a checkpoint, an ONNX model or an engine.
        backend: what shall run it; by default told by the file.
        device: ``cuda`` or ``cpu`` is binding: an error when it is not there, never a silent
            fallback. ``auto`` takes CUDA where it works and the CPU elsewhere;
            ``Session.device`` tells which.
        threads: CPU threads for one run; by default the library's own choice. On ONNX Runtime and
            OpenVINO a batch of as many images or more is shared out among so many threads, by
            default one for each processor.
        graph: run an engine as a CUDA graph where that works; nothing to the other backends.

    Raises:
        ArtifactError: the file is missing, damaged, foreign or made for another machine.
        CheckpointError: the checkpoint cannot be used.
        BackendError: the backend or device is not there.
        InputError: the file's ending or an option makes no sense.
        MissingDependencyError: the backend's package is not installed.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    fitting = backends_of(path)
    if backend is not None and backend not in fitting:
        raise InputError(
            f"{os.fspath(path)} is run by the backend {' or '.join(fitting)}, not by {backend}"
        )
    begun = perf_counter()
    session = _open_session(path, backend or fitting[0], device, threads, graph=graph)
    _LOGGER.info(
        "%s is run by %s (%s) on %s; loaded in %.2f s",
        os.fspath(path), session.backend, session.provider, session.device, perf_counter() - begun,
    )  # fmt: skip
    return session


def _open_session(
    path: str | os.PathLike[str],
    backend: Backend,
    device: Device,
    threads: int | None,
    *,
    graph: bool,
) -> Session:
    match backend:
        case "torch":
            from emonet_deploy.runtime.backends.pytorch import TorchSession

            return TorchSession.load(path, device, threads)
        case "onnx":
            from emonet_deploy.runtime.backends.onnxruntime import OnnxSession

            return OnnxSession(path, device, threads)
        case "openvino":
            from emonet_deploy.runtime.backends.openvino import OpenVinoSession

            return OpenVinoSession(path, device, threads)
        case "trt":
            from emonet_deploy.runtime.backends.tensorrt.session import TensorRTSession

            return TensorRTSession(path, device, graph=graph)
        case "trt-rtx":
            from emonet_deploy.runtime.backends.tensorrt.session import RtxSession

            return RtxSession(path, device, graph=graph)
