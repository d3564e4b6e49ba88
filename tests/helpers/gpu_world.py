"""A machine with one pretended GPU, one TensorRT and pycuda, for tests of engines."""

import sys
from types import ModuleType

import numpy as np
import pytest

from emonet_deploy.errors import ArtifactError
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.export.tensorrt.options import BuildOptions
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.tensorrt import cuda
from emonet_deploy.runtime.backends.tensorrt.rtx_session import RtxSession
from emonet_deploy.runtime.backends.tensorrt.session import TensorRTSession
from emonet_deploy.runtime.hardware.gpu import CudaDevice
from helpers.fake_cuda_bindings import make_bindings
from helpers.fake_pycuda import Machine
from helpers.fake_tensorrt import make_tensorrt
from helpers.tiny_model import write_tiny

L4 = CudaDevice("NVIDIA L4", "8.9", "13.0")


class World:
    """The machine, and a folder for its artifacts."""

    def __init__(self, version, folder, monkeypatch):
        self.folder = folder
        self.gpu = Machine()
        self.trt = make_tensorrt(self.gpu, version)
        self.kind = "trt-rtx" if self.trt.__name__ == "tensorrt_rtx" else "trt"
        self._patch = monkeypatch
        for name in ("tensorrt", "tensorrt_rtx", "pycuda", "pycuda.driver", "cuda.bindings"):
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, self.trt.__name__, self.trt)
        pycuda, driver = ModuleType("pycuda"), ModuleType("pycuda.driver")
        vars(driver).update(vars(self.gpu.driver))
        pycuda.driver = driver
        monkeypatch.setitem(sys.modules, "pycuda", pycuda)
        monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
        monkeypatch.setenv("EMONET_HOME", str(folder / "home"))
        self.card(L4)
        cuda.open_gpu.cache_clear()

    def install_bindings(self):
        """Install cuda-bindings, which is optional."""
        bindings, driver = ModuleType("cuda.bindings"), ModuleType("cuda.bindings.driver")
        vars(driver).update(vars(make_bindings(self.gpu)))
        bindings.driver = driver
        for module in (ModuleType("cuda"), bindings, driver):
            self._patch.setitem(sys.modules, module.__name__, module)

    def card(self, card):
        for module in (
            "export.tensorrt.build_engine",
            "runtime.requirements",
            "runtime.backends.tensorrt.session",
            "runtime.backends.tensorrt.rtx_engine_runner",
        ):
            self._patch.setattr(f"emonet_deploy.{module}.cuda_device", lambda: card)

    def build(self, max_batch=4, min_batch=1, interface="tensor", **model):
        path = write_tiny(self.folder / "m.onnx", interface=interface, **model)
        options = BuildOptions(max_batch=max_batch, min_batch=min_batch)
        return build_engine(path, kind=self.kind, options=options).path

    def open(self, path, **options):
        return (RtxSession if self.kind == "trt-rtx" else TensorRTSession)(path, **options)

    def assert_clean(self):
        """Nothing is alive, without a garbage collection, nothing leaked, no context is current."""
        alive = {kind: n for kind, n in self.gpu.alive.items() if n}
        assert alive == {}
        assert self.gpu.leaks == []
        assert self.gpu.stack == []


def images(n, interface="tensor", seed=0):
    rng = np.random.default_rng(seed)
    if interface == "image":
        return rng.integers(0, 256, (n, 256, 256, 3), np.uint8)
    return rng.random((n, 3, 256, 256), np.float32)


def assert_same(got, want):
    assert list(got) == list(want)
    for name, values in want.items():
        assert got[name].dtype == values.dtype
        np.testing.assert_allclose(got[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def load_error(world, path, kind=ArtifactError):
    world.gpu.start()
    with pytest.raises(kind) as caught:
        load_session(path)
    assert "Runtime.deserialize_cuda_engine" not in world.gpu.log
    assert "\n" not in str(caught.value)
    return str(caught.value)
