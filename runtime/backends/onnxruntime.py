"""ONNX models on ONNX Runtime, on the CPU or on CUDA."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import onnxruntime as ort

from emonet_deploy.emonet_ref.storage.path_access import resolve
from emonet_deploy.emonet_ref.storage.path_encoding import utf8_path
from emonet_deploy.errors import ArtifactError, BackendError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.int8_overflow import require_exact_products
from emonet_deploy.runtime.backends.thread_parallel import DataParallelSession
from emonet_deploy.runtime.choices import (
    Backend,
    Device,
    Precision,
)
from emonet_deploy.runtime.hardware.gpu import cuda_device_count
from emonet_deploy.runtime.metadata import read_info

__all__ = ["OnnxSession", "cpu_session", "open_session"]

_LOGGER = logging.getLogger(__name__)

Provider = str | tuple[str, dict[str, str]]

_MAX_BATCH_ON_CUDA: Final = 32
"""Larger batches are split: they would be no faster, and any array would fit no memory."""

_QUIET = 3  # errors only: the warnings are for ONNX Runtime's developers


class OnnxSession(DataParallelSession[ort.InferenceSession]):
    """An ONNX model of this toolkit on ONNX Runtime."""

    backend: ClassVar[Backend] = "onnx"

    def __init__(
        self,
        path: str | os.PathLike[str],
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        """Load a model; see ``load_session`` for the arguments and what is raised."""
        info = read_info(path)
        path = resolve(path)
        self._path, self._state = path, _state(path)
        self._open_model = partial(_open_model, path, _providers(device, info.precision))
        session = self._open_model(threads)
        provider = session.get_providers()[0]
        if device == "cuda" and provider != "CUDAExecutionProvider":
            raise BackendError(
                "ONNX Runtime could not start CUDA and would have used the CPU; "
                "`emonet doctor` says what is missing"
            )
        self._names = [output.name for output in info.outputs]
        if provider.startswith("CUDA"):
            where, most = "cuda", _MAX_BATCH_ON_CUDA
        else:
            where, most = "cpu", 1
            if info.target == "cpu":  # others ONNX Runtime computes in float32
                require_exact_products(info, path)
        super().__init__(info, session, threads, provider=provider, device=where, max_batch=most)

    def _open_for_each(self, threads: int) -> ort.InferenceSession | None:
        # The file that was loaded may not be there any more.
        if _state(self._path) == self._state:
            with suppress(ArtifactError):
                return self._open_model(1)
        return None

    def _outputs(self, model: ort.InferenceSession, images: Array) -> dict[str, Array]:
        try:
            images = np.ascontiguousarray(images)
            results = model.run(self._names, {self.info.inputs[0].name: images})
        except Exception as error:  # ONNX Runtime's exceptions share no base
            raise BackendError(f"ONNX Runtime failed: {_first_line(error)}") from error
        return dict(zip(self._names, results, strict=True))


def open_session(
    path: str | os.PathLike[str], device: Device, threads: int | None, graph: bool | None
) -> OnnxSession:
    """Load a model; see ``load_session``."""
    return OnnxSession(path, device, threads)


def cpu_session(model: bytes, threads: int | None = None) -> ort.InferenceSession:
    """Open a serialised model that is no artifact, to look into it or to time it on the CPU.

    Args:
        model: as ``onnx.ModelProto.SerializeToString`` gives it.
        threads: for one run; None is ONNX Runtime's own choice.
    """
    return ort.InferenceSession(model, _options(threads), providers=["CPUExecutionProvider"])


def _options(threads: int | None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _QUIET
    # Between runs the threads sleep: spinning, they would slow whatever else the process does.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _open_model(
    path: Path, providers: Sequence[Provider], threads: int | None
) -> ort.InferenceSession:
    _LOGGER.debug(
        "ONNX Runtime %s opens %s for %s on %s threads",
        ort.__version__, path, providers, threads or "all",
    )  # fmt: skip
    with _translated(path), utf8_path(path, ArtifactError) as name:
        return ort.InferenceSession(name, _options(threads), providers=providers)


def _state(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one under its name; None when there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def _providers(device: Device, precision: Precision) -> list[Provider]:
    if device == "cpu" or (device == "auto" and not cuda_device_count()):
        return ["CPUExecutionProvider"]
    available = "CUDAExecutionProvider" in ort.get_available_providers()
    if device == "cuda" and not (available and cuda_device_count()):
        raise BackendError(
            "no CUDA device that ONNX Runtime can use; use --device cpu, or see `emonet doctor`"
        )
    if not available:
        return ["CPUExecutionProvider"]
    ort.preload_dlls()
    return [("CUDAExecutionProvider", cuda_options(precision)), "CPUExecutionProvider"]


def cuda_options(precision: Precision) -> dict[str, str]:
    """Return the options of ONNX Runtime's CUDA provider for a model.

    Float32 is float32: TF32, which the provider takes by default, has a mantissa of 10 bits.
    Convolution algorithms are chosen by rule, as trying all takes seconds at each new batch size.
    Half is laid out channels last, as tensor cores want it.
    """
    options = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    return options | ({"prefer_nhwc": "1"} if precision == "fp16" else {})


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # ONNX Runtime's exceptions share no base
        raise ArtifactError(
            f"ONNX Runtime cannot load {path}: it is damaged or not an ONNX model "
            f"({_first_line(error)}); make it again with `emonet export`"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
