"""What other quantisers make of the same checkpoint, beside ours; prints a line of JSON.

    python docs/scripts/compare_quantizers.py METHOD CHECKPOINT NCLASS [--faces 96] [--sm 89]

METHOD is ``onnxruntime`` (its ``quantize_static``), ``modelopt`` (NVIDIA's), ``nncf`` (OpenVINO's),
``ours`` or ``ours-cpu``. ModelOpt and NNCF ask for other versions of what the toolkit has: run them
in an environment of their own. All calibrate on the same drawn faces and keep the layer that sees
the pixels and the one that makes the heatmaps in float, as ours do.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from emonet_deploy.benchmarks.metrics.paper_metrics import ccc
from emonet_deploy.benchmarks.parity.ties import count_equal
from emonet_deploy.emonet_ref.checkpoint import load_checkpoint
from emonet_deploy.emonet_ref.resolve_checkpoint import find_checkpoint
from emonet_deploy.emonet_ref.synthetic.faces import PARITY_SEED, crops, make_faces
from emonet_deploy.export.onnx import save_model, to_model
from emonet_deploy.export.quantization.calibrate import calibration_crops
from emonet_deploy.export.quantization.quantize import quantize_int8
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.metadata import ModelInfo, tensors_of
from emonet_deploy.runtime.pipeline.postprocess import softmax
from emonet_deploy.runtime.pipeline.preprocess import to_tensor
from emonet_deploy.runtime.precision_specs import gates_of

CALIBRATION_FACES = 64
FLOAT_LAYERS = ["conv1", "l1"]


def by_onnxruntime(model: onnx.ModelProto, faces: np.ndarray, folder: Path) -> Path:
    """ONNX Runtime's static quantisation: per channel, zero points, weights of 7 bits on AVX2."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left: Iterator[np.ndarray] = iter(faces)

        def get_next(self) -> dict[str, np.ndarray] | None:
            face = next(self.left, None)
            return None if face is None else {name: to_tensor(face[None])}

    name = model.graph.input[0].name
    source, prepared, made = (folder / f"{n}.onnx" for n in ("fp32", "prepared", "int8"))
    onnx.save(model, source)
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared, made, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv"], nodes_to_exclude=FLOAT_LAYERS,
        calibrate_method=CalibrationMethod.MinMax,
    )  # fmt: skip
    return made


def by_modelopt(model: onnx.ModelProto, faces: np.ndarray, folder: Path) -> Path:
    """ModelOpt's ONNX quantisation for TensorRT: symmetric, the rest in half."""
    from modelopt.onnx.quantization import quantize

    source, made = folder / "fp32.onnx", folder / "int8.onnx"
    onnx.save(model, source)
    quantize(
        onnx_path=str(source), quantize_mode="int8", output_path=str(made),
        calibration_data={model.graph.input[0].name: to_tensor(faces)},
        calibration_method="entropy", calibration_eps=["cpu"], op_types_to_quantize=["Conv"],
        nodes_to_exclude=FLOAT_LAYERS, high_precision_dtype="fp16",
    )  # fmt: skip
    return made


def by_nncf(model: onnx.ModelProto, faces: np.ndarray, folder: Path) -> Path:
    """NNCF's post-training quantisation, with its accurate bias correction."""
    import nncf

    name = model.graph.input[0].name
    data = nncf.Dataset([{name: to_tensor(face[None])} for face in faces])
    quantized = nncf.quantize(
        model, data, preset=nncf.QuantizationPreset.MIXED, fast_bias_correction=False,
        subset_size=len(faces), ignored_scope=nncf.IgnoredScope(names=FLOAT_LAYERS),
    )  # fmt: skip
    onnx.save(quantized, folder / "int8.onnx")
    return folder / "int8.onnx"


def by_ours(model: onnx.ModelProto, faces: np.ndarray, folder: Path, target: str = "gpu") -> Path:
    """This toolkit's."""
    onnx.save(quantize_int8(model, faces, target=target).model, folder / "int8.onnx")
    return folder / "int8.onnx"


METHODS = {
    "onnxruntime": by_onnxruntime,
    "modelopt": by_modelopt,
    "nncf": by_nncf,
    "ours": by_ours,
    "ours-cpu": lambda *rest: by_ours(*rest, target="cpu"),
}


def run(path: Path, images: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
    """Return a model's outputs on ONNX Runtime, and the median time of a face in milliseconds."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found, times = [], []
    for image in images:
        x = to_tensor(image[None])
        start = time.perf_counter()
        found.append(session.run(names, {session.get_inputs()[0].name: x}))
        times.append(1000 * (time.perf_counter() - start))
    return {
        name: np.concatenate([each[i] for each in found]) for i, name in enumerate(names)
    }, float(np.median(times))


def engine(path: Path, nclass: int, sm: int, folder: Path) -> dict[str, object]:
    """Return the megabytes that the compiled engine moves for an image, and its kernels."""
    from emonet_deploy.errors import EmonetError
    from emonet_deploy.export.tensorrt.build_engine import build_engine
    from emonet_deploy.export.tensorrt.options import BuildOptions

    inputs, outputs = tensors_of(nclass, "tensor")
    info = ModelInfo(nclass, "standin", precision="int8", inputs=inputs, outputs=outputs)
    try:
        saved = save_model(onnx.load(path), folder / "for_engine.onnx", info)
        built = build_engine(saved, None, "trt-rtx", BuildOptions(sm=(sm,)))
    except EmonetError as error:
        return {"engine": str(error)[:200]}
    kinds = list(dict(built.convolutions).values())
    return {
        "megabytes": round(built.traffic.megabytes, 1),
        "kernels": built.traffic.kernels,
        "int8_convolutions": kinds.count("int8"),
    }


def main() -> None:
    """Run one method and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("checkpoint")
    parser.add_argument("nclass", type=int)
    parser.add_argument("--faces", type=int, default=96)
    parser.add_argument("--sm", type=int, default=89)
    options = parser.parse_args()
    source = find_checkpoint(options.checkpoint, options.nclass)
    model = to_model(load_checkpoint(source.path))
    calibration = calibration_crops(None, "standin", CALIBRATION_FACES)
    images = crops(make_faces(options.faces, PARITY_SEED))
    with load_session(source.path, device="cpu") as reference:
        found = [reference.run(to_tensor(image[None])) for image in images]
    truth = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        path = METHODS[options.method](model, calibration, Path(folder))
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        made, milliseconds = run(path, images)
        agreement = count_equal(
            softmax(truth["expression"]), softmax(made["expression"]), gates_of("int8")
        )
        row = {
            "method": options.method, "checkpoint": options.checkpoint, "nclass": options.nclass,
            "faces": options.faces, "calibration": CALIBRATION_FACES, "seconds": round(seconds, 1),
            "peak_gb": round(peak, 2), "size_mb": round(path.stat().st_size / 1e6, 1),
            "ccc": [round(ccc(truth[k], made[k]) or 0, 5) for k in ("valence", "arousal")],
            "equal": round(agreement.share, 4), "apart": agreement.share_apart,
            "milliseconds_on_a_cpu": round(milliseconds, 1),
            **engine(path, options.nclass, options.sm, Path(folder)),
        }  # fmt: skip
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
