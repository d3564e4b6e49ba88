import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from helpers.tiny_model import write_tiny
from onnx import TensorProto, helper, numpy_helper

from emonet_deploy.errors import ArtifactError, BackendError, InputError
from emonet_deploy.export.quantization.gptq import SUM_IN_16_BITS, quantize_conv
from emonet_deploy.export.quantization.qparams import QuantParams
from emonet_deploy.runtime.backends import int8_overflow
from emonet_deploy.runtime.backends.openvino import OpenVinoSession
from emonet_deploy.runtime.backends.registry import backends_of, load_session
from emonet_deploy.runtime.metadata import read_info, write_info

pytest.importorskip("openvino")

# Of the largest value; in int8, an input that lies on a tie may get the next code.
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3, "int8": 3e-2}


def images_for(session, n):
    want = session.info.inputs[0]
    pixels = np.random.default_rng(0).integers(0, 256, (n, *want.shape[1:]))
    return (pixels / 255).astype("f4") if want.dtype == "float32" else pixels.astype(np.uint8)


@pytest.mark.parametrize("interface", ["tensor", "image"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_results_are_those_of_onnx_runtime(tmp_path, precision, interface):
    path = write_tiny(tmp_path / "m.onnx", precision, interface)
    with load_session(path, device="cpu") as plain, load_session(path, "openvino") as session:
        images = images_for(session, 3)
        expected, found = plain.run(images), session.run(images)
        assert (session.backend, session.device) == ("openvino", "cpu")
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == values.shape
        np.testing.assert_allclose(
            found[name], values, atol=TOLERANCE[precision] * abs(values).max()
        )


@pytest.mark.parametrize(("threads", "n"), [(1, 3), (2, 5), (4, 3), (2, 8)])
def test_a_batch_gives_what_its_images_give_alone(tmp_path, threads, n):
    path = write_tiny(tmp_path / "m.onnx")
    with load_session(path, "openvino", threads=threads) as session:
        images = images_for(session, n)
        together = session.run(images)
        for i in range(n):
            for name, values in session.run(images[i : i + 1]).items():
                np.testing.assert_allclose(values[0], together[name][i], atol=1e-5)


def test_emonet_is_the_same_network(onnx8):
    images = np.random.default_rng(1).random((1, 3, 256, 256), np.float32)
    with load_session(onnx8, device="cpu") as plain, load_session(onnx8, "openvino") as session:
        expected, found = plain.run(images), session.run(images)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=2e-3, rtol=1e-3)


def test_an_int8_model_for_tensorrt_computes_in_int8(tmp_path):
    path = write_tiny(tmp_path / "m.onnx", "int8")
    with OpenVinoSession(path) as session:
        ran = session._together.get().get_compiled_model().get_runtime_model().get_ops()
    about = [op.get_rt_info() for op in ran]
    kinds = [i["runtimePrecision"] for i in about if i["layerType"] == "Convolution"]
    assert len(kinds) == 2
    assert set(kinds) <= {"i8", "u8"}


def test_several_threads_may_use_one_session(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    with load_session(path, "openvino", threads=2) as session:
        images = images_for(session, 8)
        alone = [session.run(images[i : i + 1]) for i in range(8)]
        with ThreadPoolExecutor(4) as pool:
            runs = pool.map(lambda i: session.run(images[i : i + 1]), [*range(8)] * 4)
    for i, outputs in enumerate(runs):
        for name, values in outputs.items():
            np.testing.assert_array_equal(values, alone[i % 8][name])


def test_threads_may_be_the_first_to_use_openvino_in_a_process(tmp_path):
    """Without ``_FIRST`` they never returned, in each of six tries."""
    code = """
import sys, threading
import numpy as np
from emonet_deploy.runtime.backends.registry import load_session
with load_session("m.onnx", "openvino", threads=8) as session:
    images = np.zeros((1, 3, 256, 256), np.float32)
    models = session._opened_for_each()
    started = False
    def run():
        while not started:
            pass
        session._outputs(models, images)
    threads = [threading.Thread(target=run, daemon=True) for _ in range(8)]
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    started = True
    for thread in threads:
        thread.join()
"""
    write_tiny(tmp_path / "m.onnx")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)


@pytest.mark.parametrize("target", ["gpu", "cpu"])
def test_int8_weights_that_may_overflow_on_this_processor_are_refused(
    tmp_path, monkeypatch, target
):
    path = write_tiny(tmp_path / "m.onnx", "int8", target=target)
    write_info(path, replace(read_info(path), calibration={"calibrator": "minmax"}))
    monkeypatch.setattr(int8_overflow, "processor", lambda: ("CPU", frozenset({"avx_vnni"})))
    load_session(path, "openvino").close()
    monkeypatch.setattr(int8_overflow, "processor", lambda: ("CPU", frozenset({"avx2"})))
    with pytest.raises(ArtifactError, match=r"VNNI.*emonet export .*--target cpu"):
        load_session(path, "openvino")


def test_a_second_compilation_that_fails_is_done_without(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    with load_session(path, "openvino", threads=2) as session:
        images = images_for(session, 4)
        expected = session.run(images)
    tries = []
    with load_session(path, "openvino", threads=2) as session:

        def fail(*arguments):
            tries.append(arguments)
            raise RuntimeError("no memory")

        session._compile = fail
        for _ in range(3):
            for name, values in session.run(images).items():
                np.testing.assert_allclose(values, expected[name], atol=1e-5)
    assert len(tries) == 1


def test_a_closed_session_says_so(tmp_path):
    session = load_session(write_tiny(tmp_path / "m.onnx"), "openvino")
    images = images_for(session, 1)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run(images)


def test_a_model_without_an_output_is_one_line(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.output.pop()
    onnx.save(model, path)
    with load_session(path, "openvino") as session:
        images = images_for(session, 1)
        with pytest.raises(BackendError, match="OpenVINO failed"):
            session.run(images)


def test_there_is_no_cuda_on_openvino(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    with pytest.raises(BackendError, match="--engine onnx"):
        load_session(path, "openvino", device="cuda")


@pytest.mark.parametrize("keep", [0, 0.5, 0.999])
def test_a_damaged_model_is_refused_in_one_line(tmp_path, keep):
    content = write_tiny(tmp_path / "m.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ArtifactError) as caught:
        load_session(path, "openvino")
    assert "\n" not in str(caught.value)


def test_a_model_openvino_does_not_know_leads_to_the_other_engine(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[0].op_type = "Unheard"
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match=r"OpenVINO cannot load .* use --engine onnx") as caught:
        load_session(path, "openvino")
    assert "\n" not in str(caught.value)


def test_an_ending_in_capitals_is_the_same(tmp_path):
    path = write_tiny(tmp_path / "M.ONNX")
    with load_session(path, "openvino") as session:
        assert session.info == read_info(path)


def test_an_onnx_model_has_two_backends_and_a_checkpoint_one(tmp_path):
    assert backends_of("m.onnx") == ("onnx", "openvino")
    with pytest.raises(InputError, match="run by the backend torch, not by openvino"):
        load_session("m.pth", "openvino")


def test_nobody_is_told_that_openvino_was_loaded(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    code = (
        "import sys; from emonet_deploy.runtime.backends.registry import load_session;"
        f"load_session({str(path)!r}, 'openvino'); assert 'openvino' in sys.modules;"
        "print([m for m in sys.modules if m.startswith('openvino_telemetry.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif("avx2" not in int8_overflow.processor()[1], reason="no AVX2 kernels here")
@pytest.mark.parametrize("signed", [False, True])
def test_rounded_weights_are_multiplied_exactly_without_vnni(tmp_path, signed):
    """On OpenVINO's kernels for AVX2, which add products of neighbouring channels in 16 bits."""
    rng = np.random.default_rng(0)
    weight = rng.choice(np.array([-1, 0.9, 1], np.float32), (32, 16, 3, 3))  # most pairs too large
    conv = helper.make_node("Conv", ["x_dq", "w_dq"], ["y"], name="conv", pads=[1, 1, 1, 1])
    sample = torch.from_numpy(rng.random((2, 16, 8, 8), np.float32))
    inputs = [sample, torch.from_numpy(weight)]
    layer = quantize_conv(conv, inputs, QuantParams(np.float32(1), 0), SUM_IN_16_BITS)
    kind = np.int8 if signed else np.uint8
    zeros = {"zero": kind(0), "w_zero": np.zeros(32, np.int8)}
    scales = {"step": np.float32(1), "w_step": np.ones(32, np.float32)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", "step", "zero"], ["x_dq"]),
        helper.make_node("DequantizeLinear", ["w", "w_step", "w_zero"], ["w_dq"], axis=0),
        conv,
    ]
    whole = np.sign(layer.weight) * np.int8(127)
    for name, codes in (("rounded", layer.weight), ("whole", whole)):
        values = zeros | scales | {"w": codes}
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32, 8, 8])],
            [numpy_helper.from_array(np.asarray(value), key) for key, value in values.items()],
        )
        opset = helper.make_opsetid("", 19)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
        onnx.save(model, tmp_path / f"{name}.onnx")
    x = rng.choice(np.iinfo(kind).max - np.array([0, 255]), (1, 16, 8, 8))
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    code = """
import sys; sys.modules["openvino_telemetry"] = None
import numpy as np, openvino
exact = {"INFERENCE_PRECISION_HINT": "f32"}
for name in ("rounded", "whole"):
    model = openvino.Core().compile_model(name + ".onnx", "CPU", exact)
    np.save(name + ".npy", model(np.load("x.npy"))[0])
"""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)

    def exact(codes):
        return torch.conv2d(torch.from_numpy(x), torch.from_numpy(codes).long(), padding=1).numpy()

    np.testing.assert_array_equal(np.load(tmp_path / "rounded.npy"), exact(layer.weight))
    if np.array_equal(np.load(tmp_path / "whole.npy"), exact(whole)):
        pytest.skip("nothing overflows in this OpenVINO")


def test_a_model_with_a_name_that_is_no_utf8_is_opened(tmp_path):
    write_tiny(tmp_path / "plain.onnx")
    odd = tmp_path / os.fsdecode(b"f\xe9") / os.fsdecode(b"m\xe9.onnx")
    odd.parent.mkdir()
    (tmp_path / "plain.onnx").rename(odd)
    with load_session(odd, "openvino", "cpu") as session:
        assert session.run(np.zeros((1, 3, 256, 256), np.float32))["valence"].shape == (1,)


def computes_in_bfloat16():
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def in_bfloat16(onnx8, path):
    path.write_bytes(onnx8.read_bytes())
    write_info(path, replace(read_info(onnx8), precision="bf16", target="cpu"))
    return path


def test_bfloat16_rounds_where_the_processor_does_and_is_refused_elsewhere(onnx8, tmp_path):
    path = in_bfloat16(onnx8, tmp_path / "m.onnx")
    assert backends_of(path) == ("openvino",)
    with pytest.raises(InputError, match="run by the backend openvino, not by onnx"):
        load_session(path, "onnx")
    if not computes_in_bfloat16():
        with pytest.raises(ArtifactError, match="use the fp32 model"):
            load_session(path)
        return
    with load_session(onnx8, "openvino") as exact, load_session(path) as rounded:
        images = images_for(exact, 2)
        want, got = exact.run(images)["heatmap"], rounded.run(images)["heatmap"]
    error = np.abs(got - want).std() / want.std()
    assert 1e-4 < error < 0.05
