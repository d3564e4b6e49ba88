"""Which records fit which machine; nothing here is loaded."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.backends.tensorrt.compatibility import (
    check_engine,
    kind_of,
    rebuild_command,
)
from emonet_deploy.runtime.hardware.gpu import CudaDevice
from emonet_deploy.runtime.metadata import EngineInfo, ModelInfo, read_info, tensors_of, write_info

L4 = CudaDevice("NVIDIA L4", "8.9", "13.0")
ENGINE = EngineInfo("tensorrt", "10.13.2", "NVIDIA L4", ("8.9",), "13.0", 1, 4, 8, {})


@pytest.fixture
def record(tmp_path):
    """Write an engine's file and its record, with changes."""

    def write(package="tensorrt", **changes):
        path = tmp_path / "m.plan"
        path.write_bytes(b"a plan")
        inputs, outputs = tensors_of(8, "tensor")
        engine = replace(ENGINE, package=package, **changes)
        write_info(path, ModelInfo(8, "standin", inputs=inputs, outputs=outputs, engine=engine))
        return path, read_info(path)

    return write


def told(path, info, version="10.13.2", gpu=L4):
    """Return what differs; empty if nothing."""
    try:
        check_engine(path, info, version, gpu)
    except ArtifactError as error:
        return str(error)
    return ""


def test_an_engine_runs_where_it_was_built(record):
    path, info = record()
    assert check_engine(path, info, "10.13.2", L4) == info.engine
    assert kind_of(info.engine) == "trt"
    path.write_bytes(b"another")
    assert "is damaged or is not the one" in told(path, info)


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        (None, "here is no GPU"),
        (CudaDevice("NVIDIA L40S", "8.9", "13.0"), "built on NVIDIA L4 8.9, here is NVIDIA L40S"),
        (CudaDevice("NVIDIA L4", "9.0", "13.0"), "here is NVIDIA L4 9.0"),
    ],
)
def test_a_plan_is_of_one_model_of_gpu(record, gpu, words):
    path, info = record()
    assert words in told(path, info, gpu=gpu)


@pytest.mark.parametrize(
    ("level", "capability", "runs"),
    [
        ("same", "8.9", True), ("same", "8.6", False), ("same", "9.0", False),
        ("ampere", "8.0", True), ("ampere", "8.9", True), ("ampere", "10.0", True),
        ("ampere", "7.5", False), ("none", "8.9", False),
    ],
)  # fmt: skip
def test_hardware_compatibility_is_that_of_tensorrts_documentation(record, level, capability, runs):
    path, info = record(options={"hardware_compatibility": level})
    assert (told(path, info, gpu=CudaDevice("another", capability, "13.0")) == "") == runs


@pytest.mark.parametrize(
    ("compatible", "version", "runs"),
    [
        (False, "10.13.2", True), (False, "10.13.3", False), (True, "10.13.3", True),
        (True, "10.14.0", True), (True, "10.13.1", False), (True, "10.9.9", False),
        (True, "11.0.0", False), (True, "9.13.2", False), (True, "10.13.2.1", True),
    ],
)  # fmt: skip
def test_a_later_version_runs_an_engine_where_it_was_allowed(record, compatible, version, runs):
    path, info = record(options={"version_compatible": compatible})
    assert (told(path, info, version) == "") == runs
    if not runs:
        assert f"built with tensorrt 10.13.2, here is {version}" in told(path, info, version)


@pytest.mark.parametrize(
    ("targets", "capability", "runs"),
    [
        (("8.9",), "8.9", True), (("8.6", "12.0"), "12.0", True), (("8.6",), "8.9", False),
        ((), "8.0", True), ((), "12.1", True), ((), "7.5", False),
    ],
)  # fmt: skip
def test_an_engine_of_tensorrt_rtx_is_for_its_targets(record, targets, capability, runs):
    path, info = record("tensorrt_rtx", compute_capability=targets, gpu=None)
    here = CudaDevice("another", capability, "13.0")
    assert kind_of(info.engine) == "trt-rtx"
    assert (told(path, info, gpu=here) == "") == runs
    assert "here is no GPU" in told(path, info, gpu=None)
    if not runs:
        for_those = ", ".join(targets) or "8.0 and later"
        assert f"built for compute capability {for_those}, here is" in told(path, info, gpu=here)


def test_a_model_that_has_changed_since_is_told(record):
    path, info = record(options={"onnx": "m.onnx"})
    assert told(path, info) == ""  # where the model is not beside it
    model = path.parent / "m.onnx"
    model.write_bytes(b"a model")
    assert "m.onnx has changed since" in told(path, info)
    assert told(path, replace(info, parent_sha256=sha256_file(model))) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"package": "other"}, {"min_batch": 0}, {"min_batch": 5}, {"opt_batch": 9},
        {"max_batch": 3}, {"opt_batch": 4.0}, {"options": None}, {"compute_capability": (8.9,)},
    ],
)  # fmt: skip
def test_what_is_no_record_of_an_engine_is_refused(record, changes):
    path, info = record()
    with pytest.raises(ArtifactError, match="no record of an engine"):
        check_engine(path, replace(info, engine=replace(info.engine, **changes)), "10.13.2", L4)
    with pytest.raises(ArtifactError, match="no record of an engine"):
        check_engine(path, replace(info, engine=None), "10.13.2", L4)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 8), (2, 8, 8)])
def test_batches_of_one_size_are_a_range_too(record, sizes):
    path, info = record(**dict(zip(("min_batch", "opt_batch", "max_batch"), sizes, strict=True)))
    assert told(path, info) == ""


def arguments(command):
    words = shlex.split(command)
    assert words[:2] == ["emonet", "build"]
    return Path(words[2]).name, words[3:]


def test_the_command_rebuilds_the_same_engine(record):
    options = {"onnx": "the model.onnx", "workspace_mib": 512, "level": 0, "optimize": "latency",
               "hardware_compatibility": "ampere", "version_compatible": True}  # fmt: skip
    path, info = record(options=options)
    model, words = arguments(rebuild_command(path, info, L4))
    assert model == "the model.onnx"
    assert words == [
        "--engine", "trt", "--min-batch", "1", "--opt-batch", "4", "--max-batch", "8",
        "--workspace", "512", "--level", "0", "--optimize", "latency",
        "--hardware-compatibility", "ampere", "--version-compatible", "--out", str(path),
    ]  # fmt: skip
    path, info = record(options={"hardware_compatibility": "none", "level": None})
    model, words = arguments(rebuild_command(path, info, None))
    assert model == "MODEL.onnx"
    assert words[8:] == ["--out", str(path)]


@pytest.mark.parametrize(
    ("targets", "gpu", "sm"),
    [
        (("8.6", "8.9"), L4, ["--sm", "86,89"]),
        (("8.6",), L4, ["--sm", "86,89"]),  # and this one's
        (("8.6",), None, ["--sm", "86"]),
        ((), L4, []),
        ((), CudaDevice("T4", "7.5", "13.0"), ["--sm", "75"]),
    ],
)
def test_an_engine_of_tensorrt_rtx_is_rebuilt_for_this_gpu_too(record, targets, gpu, sm):
    path, info = record("tensorrt_rtx", compute_capability=targets, gpu=None)
    _, words = arguments(rebuild_command(path, info, gpu))
    assert words[:2] == ["--engine", "trt-rtx"]
    assert words[8:] == [*sm, "--out", str(path)]


def test_turing_has_no_int8_with_tensorrt_rtx(record):
    path, info = record("tensorrt_rtx", compute_capability=(), gpu=None)
    t4 = CudaDevice("T4", "7.5", "13.0")
    int8 = replace(info, precision="int8")
    assert "--engine trt " in rebuild_command(path, int8, t4)
    assert "--engine trt-rtx " in rebuild_command(path, int8, L4)
    assert "--engine trt-rtx " in rebuild_command(path, info, t4)
