"""Stands in for Triton's own onnxruntime backend, as a backend in Python.

So that the repository which ships loads in a tritonserver that has the Python backend alone. A
parameter ``pause`` adds so many seconds to each batch.
"""

import json
import os
import time

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        return config

    def initialize(self, args):
        config = json.loads(args["model_config"])
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        pause = config.get("parameters", {}).get("pause", {"string_value": "0"})
        self.pause = float(pause["string_value"])
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests):
        feeds = [
            {name: triton.get_input_tensor_by_name(r, name).as_numpy() for name in self.inputs}
            for r in requests
        ]
        whole = {name: np.concatenate([feed[name] for feed in feeds]) for name in self.inputs}
        time.sleep(self.pause)
        ends = np.cumsum([len(feed[self.inputs[0]]) for feed in feeds])[:-1]
        parts = [np.split(found, ends) for found in self.session.run(self.outputs, whole)]
        return [
            triton.InferenceResponse(
                [triton.Tensor(n, part[i]) for n, part in zip(self.outputs, parts, strict=True)]
            )
            for i in range(len(requests))
        ]
