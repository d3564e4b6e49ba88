"""What the driver says, on a driver that says it: the numbers are those of cuda.h."""

from types import SimpleNamespace

import pytest

from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.hardware import gpu

# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
CAPABILITY = {75: 8, 76: 9}


def libcuda(count=2, version=13020, fails=()):
    """Return the functions of libcuda that are called; those in ``fails`` return an error."""
    waited = []

    def sets(pointer, value):
        pointer._obj.value = value
        return 0

    def name_of(text, size, handle):
        assert size == len(text)
        text.value = b"NVIDIA L4" if handle.value == 40 else b"another"
        return 0

    functions = {
        "cuDeviceGetCount": lambda found: sets(found, count),
        "cuDeviceGet": lambda handle, ordinal: sets(handle, 40 + ordinal),
        "cuDeviceGetName": name_of,
        "cuDeviceGetAttribute": lambda value, which, handle: sets(
            value, CAPABILITY.get(which, -1) if handle.value == 40 else -1
        ),
        "cuDriverGetVersion": lambda found: sets(found, version),
        "cuStreamSynchronize": lambda stream: waited.append(stream.value) or 0,
    }
    functions |= dict.fromkeys(fails, lambda *_: 999)  # CUDA_ERROR_UNKNOWN
    return SimpleNamespace(**functions, waited=waited)


@pytest.fixture
def machine(monkeypatch):
    def make(driver):
        monkeypatch.setattr(gpu, "_driver", lambda: driver)
        gpu.cuda_device.cache_clear()
        gpu.cuda_device_count.cache_clear()

    yield make
    monkeypatch.undo()
    gpu.cuda_device.cache_clear()
    gpu.cuda_device_count.cache_clear()


@pytest.mark.parametrize(
    ("version", "driver"), [(13020, "13.2"), (13000, "13.0"), (12080, "12.8"), (11040, "11.4")]
)
def test_the_first_gpu_is_told_with_what_its_driver_runs(machine, version, driver):
    machine(libcuda(version=version))
    assert gpu.cuda_device() == gpu.CudaDevice("NVIDIA L4", "8.9", driver)
    assert gpu.cuda_device_count() == 2


@pytest.mark.parametrize(
    ("driver", "count"),
    [
        (None, 0),
        (libcuda(count=0), 0),
        (libcuda(fails=["cuDeviceGetCount"]), 0),
        (libcuda(fails=["cuDeviceGet"]), 2),
        (libcuda(fails=["cuDeviceGetName"]), 2),
        (libcuda(fails=["cuDeviceGetAttribute"]), 2),
        (libcuda(fails=["cuDriverGetVersion"]), 2),
    ],
)
def test_a_driver_that_fails_has_no_gpu(machine, driver, count):
    machine(driver)
    assert gpu.cuda_device() is None
    assert gpu.cuda_device_count() == count


@pytest.mark.parametrize(
    ("platform", "named"), [("linux", "libcuda.so.1"), ("win32", "nvcuda.dll")]
)
@pytest.mark.parametrize(("status", "works"), [(0, True), (100, False)])
def test_the_driver_is_the_systems_and_is_started(monkeypatch, platform, named, status, works):
    def load(name):
        if name != named:
            raise OSError(name)
        return SimpleNamespace(cuInit=lambda flags: status if flags == 0 else 1)

    monkeypatch.setattr(gpu.sys, "platform", platform)
    monkeypatch.setattr(gpu.ctypes, "CDLL", load)
    assert (gpu._driver.__wrapped__() is not None) == works


def test_a_gpu_in_the_name_of_a_file():
    named = gpu.CudaDevice("NVIDIA GeForce RTX 4090 (Laptop)", "8.9", "13.0")
    assert named.slug == "nvidia-geforce-rtx-4090-laptop"


def test_a_stream_is_waited_for_or_it_is_said_why_not(machine):
    driver = libcuda()
    machine(driver)
    gpu.wait_for_stream(77)
    assert driver.waited == [77]
    machine(libcuda(fails=["cuStreamSynchronize"]))
    with pytest.raises(BackendError, match="CUDA error 999"):
        gpu.wait_for_stream(1)
    machine(None)
    with pytest.raises(BackendError, match="CUDA error 100"):  # CUDA_ERROR_NO_DEVICE
        gpu.wait_for_stream(1)


def test_a_jetson_is_told_by_its_release_file(tmp_path):
    assert not gpu.is_jetson(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R38 (release), REVISION: 2.0\n")
    assert gpu.is_jetson(tmp_path)
