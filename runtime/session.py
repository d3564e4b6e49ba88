"""One way to run any artifact: ``load_session(path).run(images)``."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.errors import BackendError, InputError
from emonet_deploy.runtime.artifact import ModelInfo

__all__ = ["BACKENDS", "Array", "Backend", "Device", "Session", "backends_of", "load_session"]

Array = NDArray[Any]
Backend = Literal["torch", "onnx", "openvino", "trt", "trt-rtx"]
Device = Literal["auto", "cpu", "cuda"]
BACKENDS: Final[tuple[Backend, ...]] = ("torch", "onnx", "openvino", "trt", "trt-rtx")


class Session(ABC):
    """A loaded artifact, ready to run.

    Attributes:
        info: the artifact's record.
        provider: what runs it, as its library calls it, such as ``CPUExecutionProvider``.
        device: where it runs: ``cpu`` or ``cuda``.
        max_batch: the largest batch that is run at once; larger ones are split.
    """

    backend: ClassVar[Backend]

    def __init__(
        self, info: ModelInfo, *, provider: str, device: str, max_batch: int | None = None
    ) -> None:
        self.info = info
        self.provider = provider
        self.device = device
        self.max_batch = max_batch
        self._open = True

    def run(self, images: Array) -> dict[str, Array]:
        """Run a batch of face crops; safe to call from several threads.

        Args:
            images: as ``info.inputs`` says. ``tensor``: float32, N x 3 x 256 x 256, RGB in
                [0, 1]. ``image``: uint8, N x 256 x 256 x 3, RGB. N is at least 1.

        Returns:
            Fresh arrays under the names of ``info.outputs``, float32.

        Raises:
            InputError: wrong type, rank or shape, an empty batch, NaN or infinity.
            BackendError: the session is closed, or the backend failed.
        """
        if not self._open:
            raise BackendError("this session is closed; load the artifact again")
        check_images(images, self.info)
        limit = self.max_batch or len(images)
        if len(images) <= limit:
            return self._run(images)
        parts = self._run_each([images[i : i + limit] for i in range(0, len(images), limit)])
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @abstractmethod
    def _run(self, images: Array) -> dict[str, Array]:
        """Run checked images, at most ``max_batch`` of them."""

    def _run_each(self, batches: Sequence[Array]) -> list[dict[str, Array]]:
        """Run what a larger batch was split into."""
        return [self._run(images) for images in batches]

    def close(self) -> None:
        """Release what the session holds; closing twice is harmless."""
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def check_images(images: object, info: ModelInfo) -> None:
    """Raise ``InputError`` unless ``images`` is a batch the artifact takes."""
    want = info.inputs[0]
    shape = " x ".join("N" if size is None else str(size) for size in want.shape)
    if not isinstance(images, np.ndarray):
        kind = type(images).__name__
        raise InputError(f"images must be a NumPy array of {want.dtype}, {shape}, not {kind}")
    fits = images.ndim == len(want.shape) and images.shape[1:] == want.shape[1:]
    if not fits:
        got = " x ".join(map(str, images.shape)) or "a scalar"
        raise InputError(f"images must be {shape}, not {got}; runtime.preprocess makes such arrays")
    if len(images) == 0:
        raise InputError("the batch is empty; give at least one image")
    if images.dtype != want.dtype:
        raise InputError(
            f"images must be {want.dtype}, not {images.dtype}; runtime.preprocess makes such arrays"
        )
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise InputError("images hold NaN or infinity; check what produced them")


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
            from emonet_deploy.runtime.artifact import read_info

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
    match backend or fitting[0]:
        case "torch":
            from emonet_deploy.runtime.torch_backend import TorchSession

            return TorchSession.load(path, device, threads)
        case "onnx":
            from emonet_deploy.runtime.onnx_backend import OnnxSession

            return OnnxSession(path, device, threads)
        case "openvino":
            from emonet_deploy.runtime.openvino_backend import OpenVinoSession

            return OpenVinoSession(path, device, threads)
        case "trt":
            from emonet_deploy.runtime.tensorrt_backend import TensorRTSession

            return TensorRTSession(path, device, graph=graph)
        case "trt-rtx":
            from emonet_deploy.runtime.tensorrt_backend import RtxSession

            return RtxSession(path, device, graph=graph)
