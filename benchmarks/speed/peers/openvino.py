"""OpenVINO on the plain ONNX model: in float32, and quantised by NNCF as its guide has it."""

import os
from functools import partial
from typing import Any

from emonet_deploy.benchmarks.speed.peers.source import Images, Open, Run, Source
from emonet_deploy.emonet_ref.constants import TENSOR_OUTPUTS
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.openvino import OpenVinoSession

__all__ = ["plain", "quantized"]


def plain(source: Source) -> Open:
    """The toolkit's own session of it, which knows one image's shape beforehand."""

    def open_on(threads: int) -> Run:
        session = OpenVinoSession(source.plain, "cpu", threads)

        def run(images: Images) -> list[Array]:
            results = session.run(images)
            return [results[name] for name in TENSOR_OUTPUTS]

        return run

    return open_on


def quantized(source: Source) -> Open:
    """Quantised with the defaults of ``nncf.quantize``."""
    os.environ.setdefault("NNCF_CI", "1")  # or it reports to its makers
    import nncf
    import openvino

    core = openvino.Core()
    model = core.read_model(source.plain)
    model.reshape([1, 3, 256, 256])
    faces = list(source.faces())
    quantized = nncf.quantize(model, nncf.Dataset(faces), subset_size=len(faces))
    return partial(_open, core, quantized)


def _open(core: Any, model: Any, threads: int) -> Run:  # noqa: ANN401 - OpenVINO has no types
    options = {
        "INFERENCE_PRECISION_HINT": "f32",  # of what is not in int8
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()

    def run(images: Images) -> list[Array]:
        results = request.infer([images])
        return [results[name] for name in TENSOR_OUTPUTS]

    return run
