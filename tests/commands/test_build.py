"""`emonet build` and `emonet doctor`, and engines asked for where they cannot run."""

import json
import sys

import pytest
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.runtime.hardware.gpu import CudaDevice
from emonet_deploy.runtime.metadata import read_info


def emonet(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def bare(monkeypatch):
    """A machine without GPU, TensorRT, pycuda, cuda-bindings and OpenVINO."""
    for name in (
        *("openvino", "tensorrt", "tensorrt_rtx", "pycuda", "pycuda.driver"),
        *("cuda.bindings", "cuda.bindings.driver"),
    ):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("emonet_deploy.runtime.requirements.cuda_device", lambda: None)


def error_and_hint(result):
    assert result.exit_code == 1
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    return error, hint


def test_build_writes_engine_record_and_report(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    model = write_tiny(tmp_path / "m.onnx", "fp16")
    result = emonet(
        *("build", model, "--engine", "trt-rtx", "--max-batch", 4, "--sm", "86,89"),
        *("--workspace", 256, "--level", 1, "--report", tmp_path / "report.json"),
    )
    assert result.exit_code == 0, result.output
    path = tmp_path / "m.rtx-sm86-sm89.plan"
    summary, moved, done = result.stdout.splitlines()
    assert summary == "2 convolutions: 2 half"
    assert moved.startswith("moves ")
    assert " MB per image at batch " in moved
    assert f"emonet parity {path}" in result.stderr  # compiled is not yet compared
    assert "2 half -> half" in moved
    assert done.startswith(f"done: {path} (")
    assert read_info(path).engine.max_batch == 4
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["summary"] == summary
    assert report["convolutions"] == {"first": "half", "second": "half"}


def test_the_command_a_record_leads_to_builds_the_same_engine(tmp_path):
    """What a refusal tells people to type must work."""
    pytest.importorskip("tensorrt_rtx")
    import shlex

    from emonet_deploy.runtime.backends.tensorrt.compatibility import rebuild_command

    model = write_tiny(tmp_path / "a folder" / "m.onnx")
    options = ("--max-batch", 4, "--min-batch", 2, "--sm", 89, "--workspace", 256, "--level", 1)
    path = tmp_path / "x.plan"
    assert emonet("build", model, "--engine", "trt-rtx", *options, "--out", path).exit_code == 0
    before = read_info(path)
    program, *arguments = shlex.split(rebuild_command(path, before, None))
    assert program == "emonet"
    path.unlink()
    result = emonet(*arguments)
    assert result.exit_code == 0, result.output
    assert read_info(path).engine == before.engine


@pytest.mark.parametrize("engine", ["trt", "trt-rtx"])
def test_build_tells_what_is_missing_and_what_to_do(tmp_path, bare, engine):
    model = write_tiny(tmp_path / "m.onnx")
    error, hint = error_and_hint(emonet("build", model, "--engine", engine))
    assert error.startswith(f"error: cannot build engines of the kind {engine} here: ")
    assert "is missing" in error
    assert "pip install" in hint
    assert hint.endswith("--engine onnx")


@pytest.mark.parametrize("command", [("bench",), ("predict", "face.png")])
@pytest.mark.parametrize("engine", ["trt", "trt-rtx"])
def test_running_tells_what_is_missing_before_anything_is_made(
    tmp_path, bare, monkeypatch, engine, command
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "face.png").touch()
    error, hint = error_and_hint(emonet(*command, "--engine", engine))
    for part in ("tensorrt", "NVIDIA GPU", "pycuda or cuda-bindings"):
        assert part in error
    for part in ("pip install tensorrt", "pip install cuda-bindings", "--engine onnx"):
        assert part in hint.replace("'", "")
    assert [path.name for path in tmp_path.iterdir()] == ["face.png"]


@pytest.mark.parametrize("command", [("bench",), ("predict", "face.png"), ("eval",)])
def test_openvino_that_is_missing_is_told_before_anything_is_made(
    tmp_path, bare, monkeypatch, command
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "face.png").touch()
    error, hint = error_and_hint(emonet(*command, "--engine", "openvino"))
    assert error == "error: cannot run models on openvino here: openvino is missing"
    assert hint == "hint: pip install 'openvino>=2025'; or use --engine onnx"
    assert [path.name for path in tmp_path.iterdir()] == ["face.png"]


@pytest.mark.parametrize("command", [("bench",), ("predict", "face.png"), ("eval",)])
def test_openvino_on_cuda_is_refused_before_anything_is_made(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "face.png").touch()
    result = emonet(*command, "--engine", "openvino", "--device", "cuda")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "OpenVINO runs on the CPU" in line
    assert [path.name for path in tmp_path.iterdir()] == ["face.png"]


def examined(tmp_path):
    result = emonet("doctor", "--json", tmp_path / "doctor.json")
    assert result.exit_code == 0
    rows = json.loads((tmp_path / "doctor.json").read_text())
    return result.stdout, {(row["backend"], row["purpose"]): row for row in rows}


def test_doctor_names_what_is_missing_with_the_command(tmp_path, bare):
    text, rows = examined(tmp_path)
    assert rows["onnx", "run"]["ready"]
    assert rows["opencv", "check"]["ready"]
    assert rows["telemetry", "check"]["has"] == ["off"]
    assert not rows["trt", "run"]["ready"]
    assert not rows["trt-rtx", "build"]["ready"]
    missing = " ".join(rows["trt", "run"]["missing"])
    for part in ("pip install 'tensorrt-cu13>=10.13,<12'", "NVIDIA GPU", "cuda-bindings>=13'"):
        assert part in missing
        assert part in text
    assert rows["openvino", "run"]["missing"] == [
        "openvino is missing: pip install 'openvino>=2025'"
    ]
    assert "pip install 'tensorrt-rtx" in " ".join(rows["trt-rtx", "build"]["missing"])


def test_doctor_counts_what_is_there(tmp_path, bare, monkeypatch):
    from types import ModuleType

    for name in ("tensorrt", "pycuda", "pycuda.driver"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    card = CudaDevice("NVIDIA L4", "8.9", "13.0")
    monkeypatch.setattr("emonet_deploy.runtime.requirements.cuda_device", lambda: card)
    _, rows = examined(tmp_path)
    assert rows["trt", "run"]["ready"]
    assert rows["trt", "build"]["ready"]
    assert any("NVIDIA L4" in part for part in rows["trt", "run"]["has"])


@pytest.mark.parametrize(
    ("driver", "advice"),
    [
        ("12.8", ("tensorrt-cu12>=10.13,<12", "cuda-bindings>=12.8,<13")),
        ("13.0", ("tensorrt-cu13>=10.13,<12", "cuda-bindings>=13'")),
    ],
)
def test_doctor_advises_what_the_driver_can_run(tmp_path, bare, monkeypatch, driver, advice):
    card = CudaDevice("Tesla T4", "7.5", driver)
    monkeypatch.setattr("emonet_deploy.runtime.requirements.cuda_device", lambda: card)
    _, rows = examined(tmp_path)
    missing = " ".join(rows["trt", "run"]["missing"])
    assert all(f"pip install '{part}" in missing for part in advice)


def test_doctor_says_which_package_reaches_the_driver_and_why(tmp_path, bare, monkeypatch):
    pytest.importorskip("cuda.bindings")
    for name in ("cuda.bindings", "cuda.bindings.driver"):
        monkeypatch.delitem(sys.modules, name)
    _, rows = examined(tmp_path)
    (line,) = [part for part in rows["trt", "run"]["has"] if "(as" in part]
    assert line.startswith("cuda-bindings ")
    assert line.endswith("(as pycuda is missing)")


def test_doctor_says_where_tensorrt_rtx_does_not_run(tmp_path, bare, monkeypatch):
    card = CudaDevice("NVIDIA H100", "9.0", "13.0")
    monkeypatch.setattr("emonet_deploy.runtime.requirements.cuda_device", lambda: card)
    _, rows = examined(tmp_path)
    missing = " ".join(rows["trt-rtx", "run"]["missing"])
    assert "is none that TensorRT-RTX runs on): use --engine trt" in missing
    assert not any("NVIDIA H100" in part for part in rows["trt", "run"]["missing"])


def test_a_jetson_is_told_to_use_its_own_tensorrt(bare, monkeypatch):
    from emonet_deploy.runtime import requirements

    monkeypatch.setattr(requirements, "is_jetson", lambda: True)
    assert "--system-site-packages" in requirements.TENSORRT.install
    assert "JetPack 6 has Python 3.10" in requirements.TENSORRT.install
    assert "--system-site-packages" not in requirements.TORCH.install


def test_doctor_tells_a_broken_package_from_an_absent_one(tmp_path, bare, monkeypatch):
    broken = tmp_path / "tensorrt"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise OSError('libnvinfer.so.11: cannot open\\nit')")
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.syspath_prepend(tmp_path)
    _, rows = examined(tmp_path)
    assert any("cannot be loaded (libnvinfer.so.11: cannot open it)" in part
               for part in rows["trt", "build"]["missing"])  # fmt: skip
