"""ONNX models on OpenVINO, on the CPU."""

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, ClassVar, Final, Literal, TypeAlias

import numpy as np

from emonet_deploy.emonet_ref.storage.path_encoding import utf8_path
from emonet_deploy.errors import ArtifactError, BackendError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.int8_overflow import require_exact_products
from emonet_deploy.runtime.backends.registry import require_device
from emonet_deploy.runtime.backends.thread_parallel import DataParallelSession
from emonet_deploy.runtime.choices import Backend, Device
from emonet_deploy.runtime.metadata import read_info
from emonet_deploy.runtime.requirements import OPENVINO, import_required

__all__ = ["OpenVinoSession", "open_session"]

_FIRST: Final = Lock()
"""For the first look into a tensor, which sets NumPy up in OpenVINO.

Two threads that were the first at once waited for each other for ever, in OpenVINO 2026.4.
"""

Requests: TypeAlias = SimpleQueue[Any]
"""Inference requests that nobody uses at the moment."""


class OpenVinoSession(DataParallelSession[Requests]):
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
        require_device(self.backend, device)
        openvino = _import_openvino()
        try:
            core = openvino.Core()
            if info.precision == "bf16":
                _require_bfloat16(core, path)
            with utf8_path(path, ArtifactError) as name:
                model = core.read_model(name)
            # One image after the other, in a shape that is known when the kernels are chosen.
            model.reshape({t.name: [size or 1 for size in t.shape] for t in info.inputs})
            # Without the hint, processors with bfloat16 would compute float32 layers in that.
            kind: Literal["f32", "bf16"] = "bf16" if info.precision == "bf16" else "f32"
            self._compile = partial(_requests, core, model, kind)
            options = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
            requests = self._compile({"PERFORMANCE_HINT": "LATENCY", **options}, 1)
        except RuntimeError as error:
            raise ArtifactError(
                f"OpenVINO cannot load {path}: {_reason(error)}; use --engine onnx"
            ) from error
        super().__init__(info, requests, threads, provider="OpenVINO CPU")

    def _open_for_each(self, threads: int) -> Requests | None:
        with suppress(RuntimeError):  # of a second compilation: the first still runs
            options = {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
            return self._compile(options, threads)
        return None

    def _outputs(self, model: Requests, images: Array) -> dict[str, Array]:
        given = {self.info.inputs[0].name: np.ascontiguousarray(images)}
        request = model.get()  # which is nobody else's until it is put back: it has the results
        try:
            results = request.infer(given)
            return {output.name: np.array(results[output.name]) for output in self.info.outputs}
        except (RuntimeError, KeyError) as error:
            raise BackendError(f"OpenVINO failed: {_reason(error)}") from error
        finally:
            model.put(request)


def open_session(
    path: str | os.PathLike[str], device: Device, threads: int | None, graph: bool | None
) -> OpenVinoSession:
    """Load a model; see ``load_session``."""
    return OpenVinoSession(path, device, threads)


def _import_openvino() -> Any:  # noqa: ANN401 - a module without types
    openvino = import_required(OPENVINO, "run models with OpenVINO")
    with _FIRST:
        np.array(openvino.Tensor(openvino.Type.f32, [1]).data)
    return openvino


def _requests(
    core: Any,  # noqa: ANN401 - OpenVINO has no types
    model: Any,  # noqa: ANN401
    kind: Literal["f32", "bf16"],
    options: dict[str, Any],
    count: int,
) -> Requests:
    """Return a model compiled for the CPU, as so many requests that can be under way at once."""
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": kind, **options})
    requests: Requests = SimpleQueue()
    for _ in range(count):
        requests.put(compiled.create_infer_request())
    return requests


def _require_bfloat16(core: Any, path: Path) -> None:  # noqa: ANN401
    # It would compute in float32, and the figures would be of that.
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ArtifactError(
            f"{path} is for processors that compute in bfloat16, and this one does not; "
            "use the fp32 model"
        )


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
