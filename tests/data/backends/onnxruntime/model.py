"""Stands in for Triton's own onnxruntime backend, as a backend in Python: the toolkit's session.

So that the repository which ships loads in a tritonserver that has the Python backend alone. A
parameter ``pause`` adds so many seconds to each batch.
"""

import json
import os
import time

import numpy as np
import triton_python_backend_utils as triton

from emonet_deploy.runtime.backends.registry import load_session


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        return config

    def initialize(self, args):
        config = json.loads(args["model_config"])
        pause = config.get("parameters", {}).get("pause", {"string_value": "0"})
        self.pause = float(pause["string_value"])
        (self.input,) = (tensor["name"] for tensor in config["input"])
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = load_session(path, device="cpu", threads=2)

    def execute(self, requests):
        parts = [triton.get_input_tensor_by_name(r, self.input).as_numpy() for r in requests]
        time.sleep(self.pause)
        found = self.session.run(np.concatenate(parts))
        ends = np.cumsum([len(part) for part in parts])[:-1]
        pieces = {name: np.split(values, ends) for name, values in found.items()}
        return [
            triton.InferenceResponse([triton.Tensor(name, pieces[name][i]) for name in pieces])
            for i in range(len(requests))
        ]
