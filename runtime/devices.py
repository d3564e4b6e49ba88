"""Which devices this machine has, asked of the driver itself."""

import ctypes
import sys
from functools import cache

__all__ = ["cuda_device_count"]


@cache
def cuda_device_count() -> int:
    """Return how many CUDA devices the NVIDIA driver reports: 0 without a driver.

    Needs no package: libraries list a CUDA backend whether or not there is a GPU.
    """
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
