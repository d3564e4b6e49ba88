import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from helpers.tiny_model import write_tiny
from onnx import helper

from emonet_deploy.errors import ArtifactError, BackendError
from emonet_deploy.runtime.backends import int8_overflow
from emonet_deploy.runtime.backends.int8_overflow import EXACT_SUMS
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.hardware.gpu import cuda_device_count
from emonet_deploy.runtime.metadata import read_info, write_info


@pytest.fixture
def foreign(tmp_path):
    """A valid ONNX file that this toolkit did not make."""
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 18)]
    path = tmp_path / "foreign.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def test_results_are_fresh_arrays_of_the_contract(onnx8):
    images = np.random.default_rng(0).random((2, 3, 256, 256), np.float32)
    with load_session(onnx8, device="cpu") as session:
        first, second = session.run(images), session.run(images)
        assert session.provider == "CPUExecutionProvider"
        assert session.device == "cpu"
    assert list(first) == ["heatmap", "expression", "valence", "arousal"]
    assert [v.shape for v in first.values()] == [(2, 68, 64, 64), (2, 8), (2,), (2,)]
    kept = {name: values.copy() for name, values in first.items()}
    for values in second.values():
        values[:] = 0
    for name, values in kept.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(first[name], values)


@pytest.mark.parametrize(("threads", "n"), [(1, 3), (2, 5), (4, 3)])
def test_a_batch_gives_what_its_images_give_alone(onnx8, threads, n):
    images = np.random.default_rng(0).random((n, 3, 256, 256), np.float32)
    with load_session(onnx8, device="cpu", threads=threads) as session:
        together = session.run(images)
        for i in range(n):
            for name, values in session.run(images[i : i + 1]).items():
                np.testing.assert_array_equal(values[0], together[name][i])


@pytest.mark.parametrize("change", ["replaced", "gone"])
def test_another_model_under_the_name_is_never_run(tmp_path, change):
    path = write_tiny(tmp_path / "m.onnx")
    images = np.random.default_rng(0).random((2, 3, 256, 256), np.float32)
    with load_session(path, device="cpu", threads=1) as session:
        expected = session.run(images)
    with load_session(path, device="cpu", threads=2) as session:
        path.unlink()
        if change == "replaced":
            write_tiny(path, seed=1)
        found = session.run(images)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_thread_that_outlives_the_program_still_gets_its_batch(tmp_path):
    code = f"""
import threading, time, numpy as np
from emonet_deploy.runtime.backends.registry import load_session
session = load_session({str(write_tiny(tmp_path / "m.onnx"))!r}, device="cpu", threads=2)
def work():
    threading.main_thread().join()
    print(len(session.run(np.zeros((4, 3, 256, 256), np.float32))["valence"]))
threading.Thread(target=work).start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "4", done.stderr


def test_a_model_may_be_a_link_to_a_file_of_another_name(tmp_path):
    write_tiny(tmp_path / "m.onnx").rename(tmp_path / "blob")
    (tmp_path / "m.onnx").symlink_to("blob")
    with load_session(tmp_path / "m.onnx", device="cpu") as session:
        assert session.info.nclass == 8


def test_weights_in_other_files_are_refused_before_the_library_opens_them(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, "weights.bin")
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="keeps weights in other files"):
        load_session(path, device="cpu")


def test_a_record_that_is_no_text_is_one_line(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes().replace(b'"standin"', b'"stand\xffn"'))
    with pytest.raises(ArtifactError, match="one of its properties is no text"):
        load_session(path, device="cpu")


def test_a_foreign_model_is_refused(foreign):
    with pytest.raises(ArtifactError, match="not made by this toolkit"):
        load_session(foreign)
    with pytest.raises(ArtifactError, match="not made by this toolkit"):
        read_info(foreign)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.999])
def test_a_truncated_model_is_refused_in_one_line(onnx8, tmp_path, keep):
    content = onnx8.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    with pytest.raises(ArtifactError) as caught:
        load_session(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.skipif(cuda_device_count() > 0, reason="this machine has a GPU")
def test_cuda_is_never_replaced_by_the_cpu_in_silence(onnx8):
    with pytest.raises(BackendError, match="no CUDA device"):
        load_session(onnx8, device="cuda")
    with load_session(onnx8, device="auto") as session:
        assert session.device == "cpu"


@pytest.mark.parametrize(
    ("target", "instructions", "calibration", "runs"),
    [
        ("cpu", {"avx2"}, {"calibrator": "minmax"}, False),
        ("cpu", {"avx2"}, None, False),
        ("cpu", {"avx2"}, {EXACT_SUMS: True}, True),
        ("cpu", {"avx2", "avx_vnni"}, {"calibrator": "minmax"}, True),
        ("cpu", set(), {"calibrator": "minmax"}, True),  # a system that does not tell
        ("gpu", {"avx2"}, {"calibrator": "minmax"}, True),  # computed in float32
    ],
)
def test_int8_weights_that_may_overflow_on_this_processor_are_refused(
    tmp_path, monkeypatch, target, instructions, calibration, runs
):
    path = write_tiny(tmp_path / "m.onnx", "int8", target=target)
    write_info(path, replace(read_info(path), calibration=calibration))
    monkeypatch.setattr(int8_overflow, "processor", lambda: ("CPU", frozenset(instructions)))
    if runs:
        load_session(path, device="cpu").close()
        return
    with pytest.raises(ArtifactError, match=r"VNNI.*emonet export .*--target cpu"):
        load_session(path, device="cpu")


def test_a_model_with_a_name_that_is_no_utf8_is_opened(tmp_path):
    write_tiny(tmp_path / "plain.onnx")
    odd = tmp_path / os.fsdecode(b"f\xe9") / os.fsdecode(b"m\xe9.onnx")
    odd.parent.mkdir()
    (tmp_path / "plain.onnx").rename(odd)
    with load_session(odd, "onnx", "cpu") as session:
        assert session.run(np.zeros((1, 3, 256, 256), np.float32))["valence"].shape == (1,)
