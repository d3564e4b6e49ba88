import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import pytest
from tiny_model import write_tiny

from emonet_deploy.errors import ArtifactError, BackendError, InputError
from emonet_deploy.runtime import processor
from emonet_deploy.runtime.artifact import read_info, write_info
from emonet_deploy.runtime.openvino_backend import OpenVinoSession
from emonet_deploy.runtime.session import backends_of, load_session

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


@pytest.mark.parametrize("target", ["gpu", "cpu"])
def test_int8_weights_that_overflow_on_this_processor_are_refused(tmp_path, monkeypatch, target):
    path = write_tiny(tmp_path / "m.onnx", "int8", target=target)
    write_info(path, replace(read_info(path), calibration={"levels": 127}))
    load_session(path, "openvino").close()
    monkeypatch.setattr(processor, "processor", lambda: ("CPU", frozenset({"avx2"})))
    with pytest.raises(ArtifactError, match=r"VNNI.*--target cpu"):
        load_session(path, "openvino")


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
        "import sys; from emonet_deploy.runtime.session import load_session;"
        f"load_session({str(path)!r}, 'openvino'); assert 'openvino' in sys.modules;"
        "print([m for m in sys.modules if m.startswith('openvino_telemetry.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
