from dataclasses import replace

import numpy as np
import onnx
import pytest
from helpers.onnx_models import (
    golden_images,
    nearest,
    node_types,
    optimized_operators,
    run,
    sums_fit_16_bits,
)
from helpers.small_graph import conv, small
from onnx import TensorProto, numpy_helper

from emonet_deploy.benchmarks.parity.compare import check_parity
from emonet_deploy.emonet_ref.checkpoint import load_checkpoint
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.emonet_ref.standin import standin_path
from emonet_deploy.emonet_ref.synthetic.faces import PARITY_SEED, crops, make_faces
from emonet_deploy.errors import ExportError, InputError
from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.onnx import export_onnx, save_model
from emonet_deploy.export.passes.batchnorm import normalize_batchnorm
from emonet_deploy.export.passes.embed_processing import embed_processing
from emonet_deploy.export.passes.merge_pointwise import merge_pointwise
from emonet_deploy.export.passes.nchwc import batchnorm_as_convolution
from emonet_deploy.export.quantization.calibrate import Calibration, Range, calibration_crops
from emonet_deploy.export.quantization.qdq_cpu import (
    convolutions_in_int8,
    insert_uint8,
    stored_tensors,
)
from emonet_deploy.export.quantization.qparams import QuantParams
from emonet_deploy.export.quantization.quantize import (
    Quantized,
    _choose_groups,
    _qparams,
    _widen,
    quantize_int8,
)
from emonet_deploy.export.quantization.schemes import SCHEMES
from emonet_deploy.export.quantization.sensitivity import LayerSensitivity
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.export.tensorrt.compile_onnx import build_plan
from emonet_deploy.export.tensorrt.options import BuildOptions
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.metadata import read_info, tensors_of


def crude(onnx8):
    """EmoNet in int8 with scales that are made up: the right graph, whatever it computes."""
    model = onnx.load(onnx8)
    normalize_batchnorm(model)
    merge_pointwise(model)
    graph = Graph(model)
    layers = {}
    for node in graph.nodes:
        if node.op_type == "Conv" and node.name != "conv1":
            steps = QuantParams(np.float32(0.02), 0 if "relu" in node.input[0] else 128)
            layers[node.name] = nearest(graph.constant(node.input[1]), steps)
    SCHEMES["gpu"](model, None).write(model, layers, {})
    return model


def layer(name, macs=1, noise=0.0):
    return LayerSensitivity(name, macs, noise)


def test_layers_go_to_float_in_groups_and_some_always_do():
    layers = [layer("a.1", 10, 0.3), layer("a.2", 10, 0.3), layer("b.1", 30, 0.5),
              layer("conv1", 1, 0.0), layer("l1", 1, 0.0), layer("sum", 0, 9.0)]  # fmt: skip

    def group(name):
        return name.partition(".")[0]

    def choose(budget):
        return set(_choose_groups(layers, budget, group))

    always = {"conv1", "l1"}
    assert choose(0.0) == always
    # 52 in all: 2 are spent, `a` takes 20 of them for the most noise, `b` another 30.
    assert choose(22 / 52) == always | {"a"}
    assert choose(21.9 / 52) == always
    assert choose(1.0) == always | {"a", "b"}


@pytest.fixture
def joined():
    """Two tensors that are concatenated, a sum of it, and a convolution that reads the sum."""
    weight = np.ones((2, 8, 1, 1))
    return small(
        [("Relu", "x", "a", {}), ("Relu", "a", "b", {}), ("Concat", "a b", "c", {"axis": 1}),
         ("Relu", "c", "r", {}), conv("r w", "y", 1, 0)], {"w": weight},
    )  # fmt: skip


def test_what_is_concatenated_has_the_scale_of_the_whole(joined):
    ranges = {"a": Range(0, 1), "b": Range(0, 2), "c": Range(-1, 4), "r": Range(0, 8)}
    found = _qparams(joined, ranges, False)
    assert found["a"] == found["b"] == found["c"] == QuantParams.from_range(-1, 4)
    assert found["r"] == QuantParams.from_range(0, 8)
    assert _qparams(joined, ranges, True)["c"] == QuantParams.from_range(-1, 4, True)
    without = {"a": Range(0, 1), "r": Range(0, 8)}
    assert _qparams(joined, without, False)["a"] == QuantParams.from_range(0, 1)


@pytest.mark.parametrize(
    ("noise", "factor"),
    [
        # The noise of a wider range grows with its square: 5e-5 may be added, 1/20 of a thousandth.
        (5e-5, np.sqrt(2)),
        (5e-5 / 3, 2.0),
        (1.0, np.sqrt(1 + 5e-5)),
        (0.0, 3.0),
        (5e-5 / 8, 3.0),
    ],
)
def test_a_range_is_widened_as_far_as_it_adds_little_noise(joined, noise, factor):
    """`r` is what the last layer reads: its noise is what rounding `r` makes."""
    ranges = {"r": Range(-1.0, 2.0, reach=3.0)}
    found = _widen(joined, ranges, [layer("y", 1, noise)])["r"]
    assert found.low == pytest.approx(-factor)
    assert found.high == pytest.approx(2 * factor)
    kept = _widen(joined, {"r": Range(-1.0, 2.0)}, [layer("y", 1, 0.0)])["r"]
    assert (kept.low, kept.high) == (-1, 2)


def test_a_concatenation_makes_the_noise_of_its_pieces_too(joined):
    ranges = {"c": Range(0.0, 1.0, reach=9.0)}
    of_pieces = [layer("a", 1, 2e-5), layer("b", 1, 3e-5)]
    # `a` is written by one node and read by two, of which `b` makes noise as well.
    noise = (2e-5 + 3e-5) + 3e-5
    assert _widen(joined, ranges, of_pieces)["c"].high == pytest.approx(np.sqrt(1 + 5e-5 / noise))


def test_the_record_has_what_stayed_in_float_and_what_each_layer_costs():
    found = Quantized(
        onnx.ModelProto(), (layer("a", 30, 0.00123456), layer("b", 70, 0.5)), ("a",), 0.70004,
        "minmax", 128, True,
    )  # fmt: skip
    record = found.record()
    assert record["int8_share"] == 0.7
    assert record["float_layers"] == ["a"]
    assert record["sensitivity"] == [["a", 30, 0.00123], ["b", 70, 0.5]]
    assert (record["calibrator"], record["faces"]) == ("minmax", 128)
    assert True in record.values()


def test_what_is_not_in_int8_is_in_half(onnx8):
    model = crude(onnx8)
    onnx.checker.check_model(model, full_check=True)
    types = node_types(model)
    kinds = {types[node.name] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert kinds == {"INT8"}
    assert {types[node.name] for node in model.graph.node if node.op_type == "Conv"} == {"FLOAT16"}
    scales = {n.input[1] for n in model.graph.node if n.op_type.endswith("QuantizeLinear")}
    stored = {t.name: t for t in model.graph.initializer}
    assert {stored[name].data_type for name in scales} <= {TensorProto.FLOAT16}
    assert all((numpy_helper.to_array(stored[name]) > 0).all() for name in scales)


@pytest.mark.parametrize("interface", ["tensor", "image"])
def test_tensorrt_runs_the_convolutions_in_int8(onnx8, tmp_path, interface):
    pytest.importorskip("tensorrt_rtx")
    model = crude(onnx8)
    if interface == "image":
        embed_processing(model)
    inputs, outputs = tensors_of(8, interface)
    info = replace(
        read_info(onnx8), precision="int8", interface=interface, inputs=inputs, outputs=outputs
    )
    path = save_model(model, tmp_path / "emonet_8.int8.onnx", info)
    engine = build_engine(path, None, "trt-rtx", BuildOptions(sm=(89,)))
    runs_in = dict(engine.convolutions)
    assert runs_in.pop("conv1") == "half"
    assert set(runs_in.values()) == {"int8"}
    # None writes float32, as all did with a scale for each output channel: 307 MB, 253 kernels.
    written = {kind for kind in engine.traffic.convolutions if kind.startswith("int8")}
    assert written == {"int8 -> half"}
    assert engine.traffic.megabytes <= 220
    assert engine.traffic.kernels <= 230


def test_an_engine_with_fewer_int8_convolutions_than_its_model_is_refused(onnx8, tmp_path):
    """TensorRT-RTX makes one after a build in the same process that failed."""
    rtx = pytest.importorskip("tensorrt_rtx")
    info = replace(read_info(onnx8), precision="int8")
    path = save_model(crude(onnx8), tmp_path / "emonet_8.int8.onnx", info)
    with pytest.raises(ExportError):
        build_plan(rtx, "trt-rtx", path.read_bytes(), BuildOptions(sm=(75,)))
    with pytest.raises(ExportError, match=r"runs \d+ of the model's \d+ int8 convolutions in half"):
        build_engine(path, None, "trt-rtx", BuildOptions(sm=(89,)))
    assert not list(tmp_path.glob("*.plan"))
    build_engine(path, None, "trt-rtx", BuildOptions(sm=(89,)))


def test_onnx_runtime_runs_every_convolution_of_the_blocks_in_8_bits(onnx8, tmp_path):
    """With steps that are made up: the right graph, whatever it computes."""
    model = onnx.load(onnx8)
    normalize_batchnorm(model)
    merge_pointwise(model)
    batchnorm_as_convolution(model)
    graph = Graph(model)
    steps, rectified = QuantParams(np.float32(0.05), 128), QuantParams(np.float32(0.05), 0)
    in_int8 = convolutions_in_int8(graph, {"conv1", "l1"})
    layers = {
        node.name: nearest(graph.constant(node.input[1]), steps, 64)
        for node in graph.nodes
        if node.name in in_int8
    }
    after_relu = {n.output[0] for n in graph.nodes if n.op_type == "Relu"}
    stored = {
        name: rectified if name in after_relu else steps for name in stored_tensors(graph, in_int8)
    }
    insert_uint8(model, layers, stored)
    found = optimized_operators(model, tmp_path)
    blocks = 35
    assert len(layers) == 112 + 2 * blocks  # all but two of the convolutions; two norms a block
    assert found["QLinearConv"] == len(layers)
    assert found["QLinearConcat"] == blocks + 1  # what the mask multiplies, of both stacks
    assert found["BatchNormalization"] == found["QLinearAdd"] == 0


@pytest.mark.slow
def test_tensorrt_runs_in_int8_what_the_record_says(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    faces = Calibration(calibration_crops(None, "standin", 8), "procedural")
    model = load_checkpoint(standin_path(8, 0))
    made = export_onnx(model, tmp_path / "m.onnx", "standin", precision="int8", calibration=faces)
    record = made.info.calibration
    engine = build_engine(made.path, None, "trt-rtx", BuildOptions(sm=(89,)))
    half = {name for name, kind in engine.convolutions.items() if kind == "half"}
    assert half == set(record["float_layers"])
    assert set(engine.convolutions.values()) == {"half", "int8"}


def test_int8_without_faces_and_fp16_for_a_cpu_are_refused(tmp_path):
    with pytest.raises(InputError, match="calibrate"):
        export_onnx(EmoNet(8), tmp_path / "m.onnx", "standin", precision="int8")
    with pytest.raises(InputError, match="--target gpu"):
        export_onnx(EmoNet(8), tmp_path / "m.onnx", "standin", precision="fp16", target="cpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("target", ["gpu", "cpu"])
@pytest.mark.parametrize("nclass", [8, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_gates_hold_on_faces_no_calibration_saw(tmp_path, nclass, seed, target):
    checkpoint = standin_path(nclass, seed)
    identity = f"standin:{seed}"
    path = tmp_path / "m.onnx"
    exported = export_onnx(
        load_checkpoint(checkpoint),
        path,
        identity,
        precision="int8",
        target=target,
        calibration=Calibration(calibration_crops(None, identity), "procedural"),
    )
    with load_session(checkpoint) as reference, load_session(path) as made:
        check_parity(reference, made, crops(make_faces(96, PARITY_SEED)))
    assert exported.info.calibration["int8_share"] >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("nclass", [8, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_half_keeps_the_class_of_every_face_and_its_gates(tmp_path, nclass, seed):
    checkpoint = standin_path(nclass, seed)
    path = tmp_path / "m.onnx"
    export_onnx(load_checkpoint(checkpoint), path, f"standin:{seed}", precision="fp16")
    with load_session(checkpoint) as reference, load_session(path) as made:
        check_parity(reference, made, crops(make_faces(96, PARITY_SEED)))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["gpu", "cpu"])
def test_the_same_inputs_give_the_same_model_byte_for_byte(onnx8, target):
    images = calibration_crops(None, "standin", 4)
    first, second = (quantize_int8(onnx.load(onnx8), images, target=target).model for _ in "12")
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    weights = [numpy_helper.to_array(t) for t in first.graph.initializer]
    weights = [w for w in weights if w.dtype == np.int8 and w.ndim == 4 and w.shape[1] > 1]
    assert len(weights) > 70
    assert all(map(sums_fit_16_bits, weights)) == (target == "cpu")


@pytest.mark.slow
def test_int8_for_a_cpu_keeps_the_outputs_and_counts_what_it_did(onnx8, tmp_path):
    quantized = quantize_int8(onnx.load(onnx8), golden_images(4, pixels=True), target="cpu")
    onnx.checker.check_model(quantized.model, full_check=True)
    record = quantized.record()
    assert quantized.int8_share >= 0.8
    assert len(record["sensitivity"]) == 114
    in_int8 = 114 - len(record["float_layers"])
    found = optimized_operators(quantized.model, tmp_path)
    # Each block brings its three convolutions, and with them two norms.
    blocks = found["QLinearConcat"]
    assert in_int8 + 2 * (blocks - 1) <= found["QLinearConv"] <= in_int8 + 2 * blocks
    images = golden_images(4)
    want, got = run(onnx.load(onnx8), images), run(quantized.model, images)
    for name, values in want.items():
        error, spread = np.square(got[name] - values).mean(), values.var(0).mean()
        assert error < 0.02 * spread, name
