"""MNN on the plain ONNX model: in float32, and quantised by its own tool."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emonet_deploy.benchmarks.speed.peers.source import Images, Open, Run, Source, convert
from emonet_deploy.emonet_ref.constants import INPUT_NAME, TENSOR_OUTPUTS
from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.array_type import Array

__all__ = ["float32", "quantized"]


def float32(source: Source) -> Open:
    """All in float32."""
    return partial(_open, _convert(source))


def quantized(source: Source) -> Open:
    """Quantised on faces by MNN's tool, with its defaults."""
    faces = source.folder / "faces"
    for i, face in enumerate(source.faces()):
        folder = faces / str(i)
        folder.mkdir(parents=True)
        np.savetxt(folder / f"{INPUT_NAME}.txt", face.ravel(), fmt="%.7g")
        given = {"name": INPUT_NAME, "shape": list(face.shape)}
        text = json.dumps({"inputs": [given], "outputs": list(TENSOR_OUTPUTS)})
        (folder / "input.json").write_text(text, encoding="utf-8")
    settings = source.folder / "quantize.json"
    text = json.dumps({
        "input_type": "sequence",
        "path": f"{faces}/",
        "used_sample_num": len(source.calibration),
        "feature_quantize_method": "KL",
        "weight_quantize_method": "MAX_ABS",
    })  # fmt: skip
    settings.write_text(text, encoding="utf-8")
    path = source.folder / "int8.mnn"
    _tool("mnnquant", path, str(_convert(source)), str(path), str(settings))
    return partial(_open, path)


def _convert(source: Source) -> Path:
    path = source.folder / "model.mnn"
    _tool(
        "mnnconvert", path, *("-f", "ONNX", "--bizCode", "emonet"),
        *("--modelFile", str(source.plain), "--MNNModel", str(path)),
    )  # fmt: skip
    return path


def _tool(name: str, result: Path, *arguments: str) -> None:
    # The tools themselves: MNN's commands around them install packages and report to its makers.
    convert(sys.executable, "-c", f"import sys, _tools; _tools.{name}(sys.argv)", *arguments)
    if not result.is_file():  # they fail in silence
        raise BackendError("MNN could not convert the model")


def _open(path: Path, threads: int) -> Run:
    import MNN

    interpreter = MNN.Interpreter(str(path))
    session = interpreter.createSession({"numThread": threads, "precision": "high"})
    given = interpreter.getSessionInput(session, INPUT_NAME)

    def tensor(values: Images) -> Any:  # noqa: ANN401 - MNN has no types
        kind = MNN.Tensor_DimensionType_Caffe
        return MNN.Tensor(values.shape, MNN.Halide_Type_Float, values, kind)

    def run(images: Images) -> list[Array]:
        given.copyFrom(tensor(images))
        interpreter.runSession(session)
        outputs = []
        for name in TENSOR_OUTPUTS:
            source = interpreter.getSessionOutput(session, name)
            host = tensor(np.zeros(source.getShape(), np.float32))
            source.copyToHostTensor(host)
            outputs.append(np.array(host.getNumpyData(), np.float32))
        return outputs

    return run
