from dataclasses import replace

import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.errors import ArtifactError, BackendError, InputError
from emonet_deploy.runtime.backends.registry import (
    BACKENDS,
    artifact_kind,
    backends_of,
    load_session,
    require_device,
)
from emonet_deploy.runtime.metadata import EngineInfo, ModelInfo, read_info, tensors_of, write_info


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("m.pth", "checkpoint"), ("m.PT", "checkpoint"), ("m.onnx", "onnx"), ("M.ONNX", "onnx"),
        ("m.plan", "engine"), ("m.engine", "engine"), ("https://host/v2/models/m.onnx", "served"),
    ],
)  # fmt: skip
def test_an_artifact_is_told_by_its_ending_or_its_address(name, kind):
    assert artifact_kind(name) == kind


def test_the_first_backend_of_a_kind_is_its_default():
    assert backends_of("absent.onnx") == ("onnx", "openvino")
    assert backends_of("absent.pth") == ("torch",)
    assert backends_of("grpc://host:8001/v2/models/emonet") == ("v2",)


def test_a_model_in_bfloat16_is_run_by_what_computes_in_it(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    assert backends_of(path) == ("onnx", "openvino")
    write_info(path, replace(read_info(path), precision="bf16", target="cpu"))
    assert backends_of(path) == ("openvino",)
    with pytest.raises(InputError, match="run by the backend openvino, not by onnx"):
        load_session(path, "onnx")


@pytest.mark.parametrize(
    ("package", "backends"),
    [("tensorrt", ("trt",)), ("tensorrt_rtx", ("trt-rtx",)), ("tensorrt_next", ("trt",))],
)
def test_an_engine_is_run_by_the_package_that_built_it(tmp_path, package, backends):
    path = tmp_path / "m.plan"
    path.write_bytes(b"a plan")
    inputs, outputs = tensors_of(8, "tensor")
    engine = EngineInfo(package, "10.13.0", "NVIDIA L4", ("8.9",), None, 1, 1, 8)
    write_info(path, ModelInfo(8, "standin", inputs=inputs, outputs=outputs, engine=engine))
    assert backends_of(path) == backends


@pytest.mark.parametrize(
    ("backend", "device", "told"),
    [
        ("openvino", "cuda", r"OpenVINO runs on the CPU; use --device cpu"),
        ("trt", "cpu", r"TensorRT runs on a GPU, or --engine onnx"),
        ("trt-rtx", "cpu", "on a GPU"),
        ("v2", "cpu", "drop --device"),
        ("v2", "cuda", "drop --device"),
    ],
)
def test_where_a_backend_does_not_run_is_an_error(backend, device, told):
    with pytest.raises(BackendError, match=told):
        require_device(backend, device)


def test_where_a_backend_runs_it_is_let():
    for backend, spec in BACKENDS.items():
        for device in ("auto", *spec.devices):
            require_device(backend, device)


def test_so_many_threads_are_possible_and_no_more(tmp_path):
    absent = tmp_path / "absent.onnx"
    for threads in (1, 1024):
        with pytest.raises(ArtifactError, match="no ONNX model"):
            load_session(absent, threads=threads)
    for threads in (0, 1025):
        with pytest.raises(InputError, match="whole number"):
            load_session(absent, threads=threads)
