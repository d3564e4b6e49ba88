"""Reusing an engine when it fits; `tests/runtime/test_tensorrt_backend.py` has what fits."""

import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.export.tensorrt import fitting_engine as module
from emonet_deploy.export.tensorrt.fitting_engine import fitting_engine
from emonet_deploy.runtime.hardware.gpu import CudaDevice

pytest.importorskip("tensorrt_rtx")


@pytest.fixture
def said(monkeypatch):
    monkeypatch.setattr(module, "cuda_device", lambda: CudaDevice("NVIDIA L4", "8.9", "13.0"))
    return []


def test_an_engine_is_built_once(tmp_path, said):
    model = write_tiny(tmp_path / "m.onnx")
    path = fitting_engine(model, "trt-rtx", said.append)
    content = path.read_bytes()
    path.touch()
    made = path.stat().st_mtime_ns
    assert fitting_engine(model, "trt-rtx", said.append) == path
    assert path.stat().st_mtime_ns == made
    assert path.read_bytes() == content
    assert len(said) == 1
    assert "building it" in said[0]


def test_an_engine_of_an_older_model_is_replaced(tmp_path, said):
    model = write_tiny(tmp_path / "m.onnx")
    path = fitting_engine(model, "trt-rtx", said.append)
    content = path.read_bytes()
    write_tiny(model, seed=1)
    fitting_engine(model, "trt-rtx", said.append)
    assert path.read_bytes() != content
    assert len(said) == 2


def test_a_damaged_engine_is_replaced(tmp_path, said):
    model = write_tiny(tmp_path / "m.onnx")
    path = fitting_engine(model, "trt-rtx", said.append)
    path.write_bytes(b"")
    fitting_engine(model, "trt-rtx", said.append)
    assert path.stat().st_size > 0
