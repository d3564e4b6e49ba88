"""A model for Triton's Python backend: the bytes of a picture in, its faces as JSON out.

The faces go to the model beside it as one batch, inside the server's process (business logic
scripting), and are answered as ``emonet serve`` answers them. Runs in Triton's Python alone.
"""

import json
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import triton_python_backend_utils as triton

from emonet_deploy.errors import BackendError, EmonetError, InputError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.choices import Backend
from emonet_deploy.runtime.detection.load import load_detector
from emonet_deploy.runtime.metadata import METADATA_KEY, ModelInfo, parse_info
from emonet_deploy.runtime.pipeline.found_faces import read_found
from emonet_deploy.runtime.pipeline.predictor import Predictor
from emonet_deploy.serving.find_and_answer import answer, find

__all__ = ["TritonPythonModel"]


class _NeighbourSession(Session):
    """The model beside this one in the same server."""

    backend: ClassVar[Backend] = "v2"

    def __init__(self, name: str, info: ModelInfo) -> None:
        self._name = name
        super().__init__(info, provider="triton", device="remote")

    def _run(self, images: Array) -> dict[str, Array]:
        names = [output.name for output in self.info.outputs]
        # Never DLPack: with it the process of this backend crashes on some releases.
        inputs = [triton.Tensor(self.info.inputs[0].name, np.ascontiguousarray(images))]
        request = triton.InferenceRequest(
            model_name=self._name, requested_output_names=names, inputs=inputs
        )
        response = request.exec()
        if response.has_error():
            raise BackendError(f"{self._name} failed: {response.error().message()}")
        found = (triton.get_output_tensor_by_name(response, name).as_numpy() for name in names)
        return {
            output.name: values.reshape(len(images), *output.shape[1:])
            for output, values in zip(self.info.outputs, found, strict=True)
        }


class TritonPythonModel:
    """What Triton calls; one object per instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the detector.

        Raises:
            BackendError: this Triton does not understand the NumPy that is installed.
        """
        _require_exact_numpy()
        config = json.loads(args["model_config"])
        values = {key: value["string_value"] for key, value in config["parameters"].items()}
        info = parse_info(values[METADATA_KEY], config["name"])
        self._predictor = Predictor(
            _NeighbourSession(values["model"], info), int(values["max_batch"])
        )
        self._detector = load_detector()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; what is wrong with one stays with that one."""
        return [self._answered(request) for request in requests]

    def _answered(self, request: Any) -> Any:  # noqa: ANN401 - Triton's request and response
        (data,) = triton.get_input_tensor_by_name(request, "picture").as_numpy().reshape(-1)
        try:
            found = find(data, self._detector)
            (faces,) = read_found([found], self._predictor)
        except EmonetError as error:
            kind = triton.TritonError
            code = kind.INVALID_ARG if isinstance(error, InputError) else kind.INTERNAL
            return triton.InferenceResponse(error=kind(str(error), code))
        text = json.dumps(asdict(answer(found, faces))).encode()
        return triton.InferenceResponse([triton.Tensor("faces", np.array([text], np.object_))])


def _require_exact_numpy() -> None:
    sent = np.arange(4, dtype=np.float32)
    if triton.Tensor("probe", sent).as_numpy().tolist() != sent.tolist():
        raise BackendError(
            f"this Triton reads wrong numbers from NumPy {np.__version__}, without an error; "
            "pip install 'numpy<2' where it runs"
        )
