"""Engines of TensorRT as sessions."""

import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import ClassVar

from emonet_deploy.errors import ArtifactError, BackendError, EmonetError, InputError, one_line
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.registry import require_backend
from emonet_deploy.runtime.backends.session import Session, check_images
from emonet_deploy.runtime.backends.tensorrt.compatibility import check_engine, rebuild_command
from emonet_deploy.runtime.backends.tensorrt.cuda import open_gpu
from emonet_deploy.runtime.backends.tensorrt.device_array import DeviceArray, is_on_device
from emonet_deploy.runtime.backends.tensorrt.engine_runner import EngineRunner
from emonet_deploy.runtime.backends.tensorrt.library import EngineKind, import_tensorrt
from emonet_deploy.runtime.backends.tensorrt.slot import DeviceTimes
from emonet_deploy.runtime.choices import Backend, Device
from emonet_deploy.runtime.hardware.gpu import cuda_device
from emonet_deploy.runtime.metadata import read_info

__all__ = ["TensorRTSession", "open_session"]


class TensorRTSession(Session):
    """An engine of TensorRT on the GPU it was built on."""

    backend: ClassVar[Backend] = "trt"
    _kind: ClassVar[EngineKind] = "trt"
    _runner_type: ClassVar[type[EngineRunner]] = EngineRunner

    def __init__(
        self,
        path: str | os.PathLike[str],
        device: Device = "auto",
        *,
        graph: bool | None = None,
    ) -> None:
        """Load an engine.

        Args:
            path: the engine; its record lies beside it.
            device: as for ``load_session``; engines run on CUDA only.
            graph: run as CUDA graphs: True warns where that does not work, None does not, False
                runs plainly.

        Raises:
            ArtifactError: the engine or its record is missing, damaged, foreign, or made for
                another machine; the message says what differs and how to rebuild it.
            BackendError: no GPU, or CUDA or TensorRT failed.
            InputError: ``device`` is ``cpu``.
            MissingDependencyError: a package is not installed.
        """
        path = Path(path)
        info = read_info(path)
        if device == "cpu":
            raise InputError(
                f"{path} is an engine and runs on a GPU; on the CPU run the ONNX model it came from"
            )
        require_backend(self.backend, "run")
        trt = import_tensorrt(self._kind)
        card = cuda_device()
        record = check_engine(path, info, trt.__version__, card)
        gpu = open_gpu()
        self._lock = Lock()  # of closing
        with _translated(f"cannot run {path}", f"rebuild it: {rebuild_command(path, info, card)}"):
            self._runner = self._runner_type(trt, gpu, path.read_bytes(), info, record, graph=graph)
        # Also when nobody closes the session, and at exit while CUDA still works.
        self._release = weakref.finalize(self, self._runner.release)
        super().__init__(info, provider=trt.__name__, device="cuda", max_batch=record.max_batch)

    def run_on_device(
        self, images: object, outputs: Sequence[str] | None = None
    ) -> dict[str, DeviceArray]:
        """Run a batch that lies on the GPU, and leave the results there.

        Args:
            images: at most ``max_batch`` face crops as for ``run``, contiguous, in an array of any
                library that has DLPack or ``__cuda_array_interface__``, such as PyTorch or CuPy;
                they are not checked for NaN.
            outputs: as for ``run``.

        Returns:
            Fresh arrays, which such libraries can read.

        Raises:
            InputError: wrong type or shape, an empty or too large batch, no array on the GPU, or an
                output that there is not.
            BackendError: the session is closed, or the run failed.

        Example:
            >>> found = session.run_on_device(crops)  # doctest: +SKIP
            >>> torch.as_tensor(found["valence_arousal"], device="cuda")  # doctest: +SKIP
        """
        if not self._open:
            raise BackendError("this session is closed; load the artifact again")
        if not is_on_device(images):
            raise InputError("images must lie on the GPU; `run` takes NumPy arrays")
        names = self._wanted(outputs)
        with _translated("the engine failed", "see `emonet doctor`"):
            return self._runner.run_on_device(images, names)

    def measure(self, images: Array) -> DeviceTimes:
        """Run a batch, at most ``max_batch``, and return how long the device took for its parts.

        Raises:
            InputError: as for ``run``, or the batch is too large.
            BackendError: the session is closed, or the run failed.
        """
        check_images(images, self.info)
        if self.max_batch is not None and len(images) > self.max_batch:
            raise InputError(f"the engine takes {self.max_batch} images at once, not {len(images)}")
        if not self._open:
            raise BackendError("this session is closed; load the artifact again")
        with _translated("the engine failed", "see `emonet doctor`"):
            return self._runner.measure(images)

    def close(self) -> None:
        """Wait for runs that are under way, then release everything; twice is harmless."""
        with self._lock:
            super().close()
            with _translated("cannot release the engine", "end the process"):
                self._runner.close()
            self._release.detach()

    def _run(self, images: Array) -> dict[str, Array]:
        return self._run_for(images, self._wanted(None))

    def _run_for(self, images: Array, names: Sequence[str]) -> dict[str, Array]:
        with _translated("the engine failed", "see `emonet doctor`"):
            return self._runner.run(images, names)

    def _run_each(self, batches: Sequence[Array], names: Sequence[str]) -> list[dict[str, Array]]:
        with _translated("the engine failed", "see `emonet doctor`"):
            return self._runner.run_each(batches, names)


def open_session(
    path: str | os.PathLike[str], device: Device, threads: int | None, graph: bool | None
) -> TensorRTSession:
    """Load an engine of TensorRT; see ``load_session``."""
    return TensorRTSession(path, device, graph=graph)


@contextmanager
def _translated(what: str, then: str) -> Iterator[None]:
    """Say in one line what failed and what to do; pycuda's and TensorRT's errors share no base."""
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(f"{what}: {error}; {then}") from error
    except InputError:
        raise
    except EmonetError as error:
        raise BackendError(f"{what}: {error}") from error
    except Exception as error:
        raise BackendError(f"{what}: {one_line(error)}; {then}") from error
