"""Engines compiled for real with TensorRT-RTX, whose compiler needs no GPU."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.emonet_ref.constants import INPUT_NAME
from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.errors import (
    ArtifactError,
    BackendError,
    ExportError,
    InputError,
    MissingDependencyError,
)
from emonet_deploy.export.passes.gemm_to_conv import gemm_to_conv
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.export.tensorrt.inspector import convolutions, layers_from_json, report, summary
from emonet_deploy.export.tensorrt.options import RTX_TARGETS, BuildOptions, engine_name
from emonet_deploy.runtime.backends.tensorrt.library import complaints, logger_of
from emonet_deploy.runtime.hardware.gpu import CudaDevice
from emonet_deploy.runtime.metadata import read_info, sidecar_path

rtx = pytest.importorskip("tensorrt_rtx")

L4 = CudaDevice("NVIDIA L4", "8.9", "13.0")


def build(path, out=None, progress=None, **options):
    return build_engine(path, out, "trt-rtx", BuildOptions(**options), progress)


@pytest.mark.parametrize("interface", ["tensor", "image"])
@pytest.mark.parametrize(
    ("precision", "runs_in"), [("fp32", "float"), ("fp16", "half"), ("int8", "int8")]
)
def test_each_precision_compiles_and_its_convolutions_run_in_it(
    tmp_path, precision, runs_in, interface
):
    engine = build(write_tiny(tmp_path / "m.onnx", precision, interface))
    assert engine.convolutions == {"first": runs_in, "second": runs_in}
    assert summary(engine.convolutions.values()) == f"2 convolutions: 2 {runs_in}"


@pytest.mark.parametrize("sm", RTX_TARGETS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_target_gets_each_precision(tmp_path, precision, sm):
    model = write_tiny(tmp_path / "m.onnx", precision)
    if (precision, sm) == ("int8", 75):
        with pytest.raises(InputError, match=r"no int8 convolutions for compute capability 7\.5"):
            build(model, sm=(sm,))
        return
    engine = build(model, sm=(sm,))
    reads = {"fp32": "float", "fp16": "half", "int8": "int8"}[precision]
    assert set(engine.convolutions.values()) == {reads}
    if sm != 75:  # for which the last layer becomes a convolution, in float32
        assert all(kind.startswith(reads) for kind in engine.traffic.convolutions)
    assert engine.info.engine.options["traffic"]["kernels"] == engine.traffic.kernels
    assert engine.info.engine.compute_capability == (f"{sm // 10}.{sm % 10}",)


def test_the_record_says_what_the_engine_is_and_came_from(tmp_path):
    model = write_tiny(tmp_path / "m.onnx", "fp16")
    engine = build(model, sm=(86, 89), max_batch=4, min_batch=2, level=1, workspace_mib=512)
    info = read_info(engine.path)
    assert info == engine.info
    assert engine.path.name == "m.rtx-sm86-sm89.plan"
    assert info.sha256 == sha256_file(engine.path)
    assert info.parent_sha256 == sha256_file(model)
    assert (info.precision, info.checkpoint) == ("fp16", "standin")
    record = info.engine
    assert (record.package, record.version) == ("tensorrt_rtx", rtx.__version__)
    assert record.compute_capability == ("8.6", "8.9")
    assert (record.min_batch, record.opt_batch, record.max_batch) == (2, 4, 4)
    assert record.options["onnx"] == "m.onnx"
    assert record.gpu is None


def test_the_profile_reaches_the_builder(tmp_path):
    build(write_tiny(tmp_path / "m.onnx"), min_batch=2, opt_batch=3, max_batch=5)
    dump = logger_of(rtx).layers
    for name, batch in (("MinShape", 2), ("OptShape", 3), ("MaxShape", 5)):
        assert f"{name}: [{batch},3,256,256]" in dump


def test_layers_tell_fusion_and_weights(tmp_path):
    engine = build(write_tiny(tmp_path / "m.onnx"))
    first = next(layer for layer in engine.layers if "first" in layer.nodes)
    assert first.weights == (32, 3, 4, 4)
    assert "hidden" in first.nodes  # the Relu runs inside the convolution
    layers = report(engine.layers, engine.convolutions)
    assert layers["counts"] == {"float": 2}
    assert json.loads(json.dumps(layers))["layers"][0]["name"] == engine.layers[0].name


def test_progress_ends_where_it_said_it_would(tmp_path):
    seen = {}
    build(
        write_tiny(tmp_path / "m.onnx"),
        progress=lambda *step: seen.setdefault(step[0], []).append(step),
    )
    assert "Building engine" in seen
    for steps in seen.values():
        assert all(0 <= done <= total for _, done, total in steps)
        assert steps[-1][1] == steps[-1][2]


CTRL_C = """
import signal, sys
# A shell that starts a job in the background has it ignore Ctrl-C, and so what the job starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
from emonet_deploy.export.tensorrt.build_engine import build_engine
def progress(*step):
    print(*step, flush=True)
    sys.stdin.readline()  # until the other side has sent its signal
try:
    build_engine(sys.argv[1], kind="trt-rtx", progress=progress)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_cancels_the_build_and_leaves_nothing(tmp_path):
    model = write_tiny(tmp_path / "m.onnx")
    with subprocess.Popen(
        [sys.executable, "-c", CTRL_C, str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        child.stdin.close()
        child.stdout.read()
    assert child.returncode == 130
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_a_cancelled_build_stops_early(tmp_path, monkeypatch):
    """Interrupt the waiting thread in the first phase: later phases never start."""
    phases, started = [], threading.Event()

    def progress(phase, done, total):
        phases.append(phase)
        started.set()
        time.sleep(0.05)

    def interrupted(*_):
        started.wait()
        raise KeyboardInterrupt

    model = write_tiny(tmp_path / "m.onnx")
    monkeypatch.setattr("emonet_deploy.export.tensorrt.compile_onnx.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(model, progress=progress)
    assert "Timing tactics" not in phases
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_a_model_the_parser_refuses_is_one_line_with_its_reasons(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    model = onnx.load(path)
    next(node for node in model.graph.node if node.name == "hidden").op_type = "NoSuchOperator"
    onnx.save(model, path)
    with pytest.raises(ExportError, match=r"could not read the model: .*NoSuchOperator") as caught:
        build(path)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_errors_of_one_build_do_not_reach_the_next(tmp_path):
    logger_of(rtx).errors.append("left over")
    build(write_tiny(tmp_path / "m.onnx"))
    assert complaints(rtx) == "it gave no reason"


def test_an_older_engine_survives_a_failed_build(tmp_path):
    model = write_tiny(tmp_path / "m.onnx")
    engine = build(model)
    before = engine.path.read_bytes(), sidecar_path(engine.path).read_bytes()
    model.write_bytes(b"not an ONNX file")
    with pytest.raises(ArtifactError):
        build(model)
    assert (engine.path.read_bytes(), sidecar_path(engine.path).read_bytes()) == before


def test_a_model_for_the_cpu_is_refused(tmp_path):
    with pytest.raises(InputError, match="--target gpu"):
        build(write_tiny(tmp_path / "m.onnx", "int8", target="cpu"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "--max-batch"),
        ({"opt_batch": 9, "max_batch": 8}, "--opt-batch"),
        ({"min_batch": 0}, "--min-batch"),
        ({"level": 6}, "--level"),
        ({"workspace_mib": 0}, "--workspace"),
        ({"sm": (90,)}, "75, 80, 86, 89, 120, 121"),
        ({"sm": (89, 89)}, "twice"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        build(write_tiny(tmp_path / "m.onnx"), **options)


def test_turing_gets_the_same_function_without_matrix_products(tmp_path):
    model = write_tiny(tmp_path / "m.onnx", "fp16")
    rewritten = onnx.load(model)
    gemm_to_conv(rewritten)
    assert "Gemm" not in {node.op_type for node in rewritten.graph.node}
    images = np.random.default_rng(0).random((3, 3, 256, 256), np.float32)
    want, got = (
        onnxruntime.InferenceSession(source).run(None, {INPUT_NAME: images})
        for source in (model.read_bytes(), rewritten.SerializeToString())
    )
    for a, b in zip(want, got, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sm", [(75,), (75, 80, 86, 89, 120)])
def test_turing_can_be_built_for(tmp_path, sm):
    engine = build(write_tiny(tmp_path / "m.onnx", "fp16"), sm=sm)
    assert engine.convolutions == {"first": "half", "second": "half"}
    assert engine.info.engine.compute_capability[0] == "7.5"


@pytest.mark.parametrize("sm", [(75,), (75, 89)])
def test_int8_is_not_silently_built_in_float_for_turing(tmp_path, sm):
    with pytest.raises(InputError, match="fp16 model"):
        build(write_tiny(tmp_path / "m.onnx", "int8"), sm=sm)


def test_an_engine_is_never_written_over_its_model(tmp_path):
    model = write_tiny(tmp_path / "m.onnx")
    before = model.read_bytes()
    with pytest.raises(InputError, match=r"\.plan"):
        build(model, out=model)
    assert model.read_bytes() == before


def test_out_may_be_a_folder(tmp_path):
    model = write_tiny(tmp_path / "models" / "m.onnx")
    (tmp_path / "engines").mkdir()
    engine = build(model, out=tmp_path / "engines")
    assert engine.path == tmp_path / "engines" / "m.rtx.plan"
    assert engine.info.engine.options["onnx"] == os.path.join("..", "models", "m.onnx")


def test_targets_are_refused_for_tensorrt(tmp_path):
    with pytest.raises(InputError, match="trt-rtx"):
        build_engine(write_tiny(tmp_path / "m.onnx"), kind="trt", options=BuildOptions(sm=(89,)))


def test_without_the_package_the_command_that_installs_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingDependencyError, match="pip install 'tensorrt-cu13"):
        build_engine(write_tiny(tmp_path / "m.onnx"), kind="trt")


def test_without_a_gpu_tensorrt_says_what_to_do_instead(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", rtx)
    monkeypatch.setattr("emonet_deploy.runtime.requirements.cuda_device", lambda: None)
    with pytest.raises(BackendError, match="--engine trt-rtx"):
        build_engine(write_tiny(tmp_path / "m.onnx"), kind="trt")


def test_engine_names():
    assert engine_name("a/emonet_8.fp16.onnx", BuildOptions(), L4) == "emonet_8.fp16.nvidia-l4.plan"
    assert engine_name("emonet_5.int8.onnx", BuildOptions(), None) == "emonet_5.int8.rtx.plan"
    quick = BuildOptions(optimize="latency")
    assert engine_name("emonet_5.int8.onnx", quick, None) == "emonet_5.int8.rtx.latency.plan"


def test_what_an_engine_is_for_sets_its_batches_unless_they_are_given():
    assert BuildOptions().batches == (1, 32, 64)
    assert BuildOptions(optimize="latency").batches == (1, 1, 1)
    assert BuildOptions(optimize="latency", max_batch=4).batches == (1, 1, 4)
    assert BuildOptions(max_batch=4).batches == (1, 4, 4)
    assert BuildOptions(opt_batch=8).batches == (1, 8, 64)
    assert BuildOptions(opt_batch=100).batches == (1, 100, 100)


# As the inspector of TensorRT writes it: names only, a convolution of its own kernels with the
# type in the format's words, and one with the type by itself.
INSPECTED = """{"Layers": [
  "a name only",
  {"Name": "conv1 + relu", "LayerType": "CaskConvolution",
   "Inputs": [{"Name": "image", "Dimensions": [1, 3, 256, 256],
               "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}],
   "Outputs": [{"Name": "x", "Dimensions": [1, 64, 128, 128], "Format/Datatype": "Half"}],
   "Weights": {"Type": "Int8", "Count": 9408}, "Bias": {"Type": "Float", "Count": 64},
   "Metadata": "[ONNX Layer: conv1]\\u001e[ONNX Layer: relu]"},
  {"Name": "conv2 copy", "LayerType": "Reformat",
   "Inputs": [{"Name": "x", "Format/Datatype": "Row major linear FP32"}],
   "Outputs": [{"Name": "y", "Format/Datatype": "Channel major FP16 format"}],
   "Metadata": "[ONNX Layer: conv2]"},
  {"Name": "conv2", "LayerType": "CaskConvolution",
   "Inputs": [{"Name": "y", "Dimensions": [1, 64, 64, 64], "Datatype": "Half"}],
   "Outputs": [{"Name": "z", "Dimensions": [1, 64, 64, 64], "Datatype": "Float"}],
   "Weights": {"Type": "Half", "Count": 36864},
   "TacticName": "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16",
   "Metadata": "[ONNX Layer: conv2]"}], "Bindings": ["image", "z"]}"""


@pytest.mark.parametrize(
    "text",
    [
        INSPECTED,
        # As version 11 words it: the type has a key of its own, spelt in two ways.
        INSPECTED.replace('"Format/Datatype": "Half"', '"DataType": "Half", "Format": "Row"'),
        INSPECTED.replace('"Datatype"', '"DataType"').replace('"Bindings"', '"I/O Tensors"'),
    ],
)
def test_the_inspectors_json_is_read(text):
    layers = layers_from_json(text)
    assert layers[3].tactic == "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16"
    assert layers[3].inputs[0].type == "half"
    assert [layer.precision for layer in layers] == ["unknown", "int8", "float", "half"]
    assert layers[1].nodes == ("conv1", "relu")
    assert layers[1].weights == (9408,)
    assert convolutions(layers, ["conv1", "conv2", "conv3"]) == {
        "conv1": "int8",
        "conv2": "half",
        "conv3": "unknown",
    }
