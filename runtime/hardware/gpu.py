"""Which devices this machine has, asked of the driver itself."""

import ctypes
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from emonet_deploy.errors import BackendError

__all__ = ["CudaDevice", "cuda_device", "cuda_device_count", "is_jetson", "wait_for_stream"]

# CUdevice_attribute in cuda.h
_COMPUTE_CAPABILITY_MAJOR: Final = 75
_COMPUTE_CAPABILITY_MINOR: Final = 76


@dataclass(frozen=True)
class CudaDevice:
    """A GPU: its name, its compute capability such as ``8.9``, and the CUDA its driver runs."""

    name: str
    compute_capability: str
    driver: str

    @property
    def slug(self) -> str:
        """The name as part of a file name, such as ``nvidia-l4``."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@cache
def cuda_device_count() -> int:
    """Return how many CUDA devices the NVIDIA driver reports: 0 without a driver.

    Needs no package: libraries list a CUDA backend whether or not there is a GPU.
    """
    driver = _driver()
    count = ctypes.c_int()
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


@cache
def cuda_device() -> CudaDevice | None:
    """Return the first CUDA device, or None; ``CUDA_VISIBLE_DEVICES`` chooses which is first."""
    driver = _driver()
    if driver is None or not cuda_device_count():
        return None
    handle, version = ctypes.c_int(), ctypes.c_int()
    major, minor = ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    failures = [
        driver.cuDeviceGet(ctypes.byref(handle), 0),
        driver.cuDeviceGetName(name, len(name), handle),
        driver.cuDeviceGetAttribute(ctypes.byref(major), _COMPUTE_CAPABILITY_MAJOR, handle),
        driver.cuDeviceGetAttribute(ctypes.byref(minor), _COMPUTE_CAPABILITY_MINOR, handle),
        driver.cuDriverGetVersion(ctypes.byref(version)),
    ]
    if any(failures):
        return None
    thousands, rest = divmod(version.value, 1000)
    return CudaDevice(
        name=name.value.decode(errors="replace"),
        compute_capability=f"{major.value}.{minor.value}",
        driver=f"{thousands}.{rest // 10}",
    )


def is_jetson(root: Path = Path("/")) -> bool:
    """Return whether this is a Jetson, whose TensorRT comes with the system."""
    return (root / "etc/nv_tegra_release").exists()


def wait_for_stream(handle: int) -> None:
    """Wait until a stream of any library has nothing to do; its context must be current.

    Args:
        handle: of the stream; 1 is the legacy stream, 2 that of the thread.

    Raises:
        BackendError: the driver says no.
    """
    driver = _driver()
    status = driver.cuStreamSynchronize(ctypes.c_void_p(handle)) if driver is not None else 100
    if status != 0:
        raise BackendError(f"cannot wait for the stream of a device array (CUDA error {status})")


@cache
def _driver() -> ctypes.CDLL | None:
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None
