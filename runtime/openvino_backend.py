"""ONNX models on OpenVINO, on the CPU."""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, ClassVar, TypeAlias

import numpy as np

from emonet_deploy.emonet_ref.extras import needs
from emonet_deploy.errors import ArtifactError, BackendError, MissingDependencyError
from emonet_deploy.runtime.artifact import read_info
from emonet_deploy.runtime.processor import require_exact_products, usable_processors
from emonet_deploy.runtime.session import Array, Backend, Device, Session
from emonet_deploy.runtime.share import share_out

__all__ = ["OpenVinoSession", "no_telemetry"]

Requests: TypeAlias = SimpleQueue[Any]
"""Inference requests that nobody uses at the moment."""


class OpenVinoSession(Session):
    """An ONNX model of this toolkit on OpenVINO; an INT8 one for TensorRT is in int8 here too."""

    backend: ClassVar[Backend] = "openvino"

    def __init__(
        self,
        path: str | os.PathLike[str],
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        """Load a model; see ``load_session`` for the arguments and what is raised."""
        path = Path(path)
        info = read_info(path)
        require_exact_products(info, path)
        if device == "cuda":
            raise BackendError("OpenVINO runs on the CPU; use --device cpu, or --engine onnx")
        openvino = _import_openvino()
        self._threads = threads or usable_processors()
        try:
            core = openvino.Core()
            model = core.read_model(path)
            # One image after the other, in a shape that is known when the kernels are chosen.
            model.reshape({t.name: [size or 1 for size in t.shape] for t in info.inputs})
            self._compile = partial(_requests, core, model, threads)
            self._one: Requests | None = self._compile({"PERFORMANCE_HINT": "LATENCY"}, 1)
        except RuntimeError as error:
            raise ArtifactError(
                f"OpenVINO cannot load {path}: {_reason(error)}; use --engine onnx"
            ) from error
        super().__init__(info, provider="OpenVINO CPU", device="cpu", max_batch=1)
        self._many: Requests | None = None
        self._lock = Lock()

    def close(self) -> None:
        """Release the model; closing twice is harmless."""
        super().close()
        self._one = self._many = None

    def _run(self, images: Array) -> dict[str, Array]:
        return self._outputs(self._one, images)

    def _run_each(self, batches: Sequence[Array]) -> list[dict[str, Array]]:
        if not len(batches) >= self._threads > 1:
            return super()._run_each(batches)
        with self._lock:
            if self._many is None:
                streams = {"NUM_STREAMS": self._threads, "INFERENCE_NUM_THREADS": self._threads}
                self._many = self._compile(streams, self._threads)
        return share_out(batches, self._threads, partial(self._outputs, self._many), self._run)

    def _outputs(self, requests: Requests | None, images: Array) -> dict[str, Array]:
        if requests is None:
            raise BackendError("this session was closed while it ran; load the artifact again")
        given = {self.info.inputs[0].name: np.ascontiguousarray(images)}
        request = requests.get()  # which is nobody else's until it is put back: it has the results
        try:
            results = request.infer(given)
            return {output.name: np.array(results[output.name]) for output in self.info.outputs}
        except (RuntimeError, KeyError) as error:
            raise BackendError(f"OpenVINO failed: {_reason(error)}") from error
        finally:
            requests.put(request)


def _requests(
    core: Any,  # noqa: ANN401 - OpenVINO has no types
    model: Any,  # noqa: ANN401
    threads: int | None,
    options: dict[str, Any],
    count: int,
) -> Requests:
    """Return a model compiled for the CPU, as so many requests that can be under way at once."""
    if threads is not None:
        options = {"INFERENCE_NUM_THREADS": threads, **options}
    # Without the hint, processors with bfloat16 would compute float32 layers in that.
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **options})
    requests: Requests = SimpleQueue()
    for _ in range(count):
        requests.put(compiled.create_infer_request())
    return requests


def no_telemetry() -> None:
    """Keep OpenVINO from telling its makers that it is imported; to be called before it is."""
    # What is None here cannot be imported; OpenVINO does without it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def _import_openvino() -> Any:  # noqa: ANN401 - a module without types
    no_telemetry()
    try:
        with needs("openvino", "run models with OpenVINO"):
            import openvino
    except MissingDependencyError:
        raise
    except (ImportError, OSError) as error:
        raise BackendError(
            f"OpenVINO is installed but cannot be loaded ({_reason(error)}); use --engine onnx"
        ) from error
    return openvino


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
