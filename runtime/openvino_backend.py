"""ONNX models on OpenVINO, on the CPU."""

import os
import sys
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np

from emonet_deploy.emonet_ref.extras import needs
from emonet_deploy.errors import ArtifactError, BackendError, MissingDependencyError
from emonet_deploy.runtime.artifact import read_info
from emonet_deploy.runtime.processor import require_exact_products
from emonet_deploy.runtime.session import Array, Backend, Device, Session

__all__ = ["OpenVinoSession", "no_telemetry"]


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
        # Without the hint, processors with bfloat16 would compute float32 layers in that.
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            core = openvino.Core()
            model = core.read_model(path)
            # One image after the other, in a shape that is known when the kernels are chosen.
            model.reshape({t.name: [size or 1 for size in t.shape] for t in info.inputs})
            compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise ArtifactError(
                f"OpenVINO cannot load {path}: {_reason(error)}; use --engine onnx"
            ) from error
        super().__init__(info, provider="OpenVINO CPU", device="cpu", max_batch=1)
        self._request: Any = compiled.create_infer_request()
        self._lock = Lock()

    def close(self) -> None:
        """Release the model; closing twice is harmless."""
        super().close()
        with self._lock:
            self._request = None

    def _run(self, images: Array) -> dict[str, Array]:
        given = {self.info.inputs[0].name: np.ascontiguousarray(images)}
        with self._lock:  # the request keeps the results
            if self._request is None:
                raise BackendError("this session was closed while it ran; load the artifact again")
            try:
                results = self._request.infer(given)
                return {output.name: np.array(results[output.name]) for output in self.info.outputs}
            except (RuntimeError, KeyError) as error:
                raise BackendError(f"OpenVINO failed: {_reason(error)}") from error


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
