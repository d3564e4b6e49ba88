"""The driver's calls that sessions make, through ``cuda-bindings``, under the names of pycuda.

cuda-bindings has wheels for every platform, where pycuda needs the CUDA toolkit and a compiler.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["BindingsDriver"]

_PORTABLE: Final = 1  # CU_MEMHOSTALLOC_PORTABLE: page-locked for every context


class _CudaError(Exception):
    """A call failed; the message names it."""


class BindingsDriver:
    """What ``pycuda.driver`` is to sessions, made of ``cuda.bindings.driver``."""

    Error = _CudaError

    def __init__(self, cuda: Any) -> None:  # noqa: ANN401 - no type stubs
        self._cuda = cuda

    def init(self) -> None:
        """Start the driver."""
        self.call("cuInit", 0)

    def call(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever it gives
        """Call a function; return what it gives beside its status, or raise ``Error``."""
        status, *values = getattr(self._cuda, name)(*arguments)
        if status != self._cuda.CUresult.CUDA_SUCCESS:
            raise _CudaError(f"{name} failed: {status.name}")
        return values[0] if len(values) == 1 else tuple(values)

    def Device(self, ordinal: int) -> "_Device":  # noqa: N802 - pycuda's names
        """Return a device."""
        return _Device(self, ordinal)

    def Stream(self, flags: int = 0) -> "_Stream":  # noqa: N802
        """Make a stream in the current context."""
        return _Stream(self, flags)

    def Event(self) -> "_Event":  # noqa: N802
        """Make an event in the current context."""
        return _Event(self)

    def mem_alloc(self, size: int) -> "_DeviceAllocation":
        """Allocate device memory."""
        return _DeviceAllocation(self, size)

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of page-locked memory; its base has ``free``."""
        return np.asarray(_HostAllocation(self, shape, np.dtype(dtype)))

    def memcpy_htod_async(self, dest: Any, src: NDArray[Any], stream: "_Stream") -> None:  # noqa: ANN401
        """Copy an array to the device."""
        self.call("cuMemcpyHtoDAsync", int(dest), src.ctypes.data, src.nbytes, stream.handle)

    def memcpy_dtoh_async(self, dest: NDArray[Any], src: Any, stream: "_Stream") -> None:  # noqa: ANN401
        """Copy from the device into an array."""
        self.call("cuMemcpyDtoHAsync", dest.ctypes.data, int(src), dest.nbytes, stream.handle)

    def memcpy_dtod_async(self, dest: Any, src: Any, size: int, stream: "_Stream") -> None:  # noqa: ANN401
        """Copy within the device."""
        self.call("cuMemcpyDtoDAsync", int(dest), int(src), size, stream.handle)

    def mem_get_info(self) -> tuple[int, int]:
        """Return free and all bytes of the device."""
        free, total = self.call("cuMemGetInfo")
        return free, total


class _Device:
    def __init__(self, driver: BindingsDriver, ordinal: int) -> None:
        self._driver = driver
        self._device = driver.call("cuDeviceGet", ordinal)

    def retain_primary_context(self) -> "_Context":
        return _Context(self._driver, self._device)


class _Context:
    def __init__(self, driver: BindingsDriver, device: object) -> None:
        self._driver, self._device = driver, device
        self._context = driver.call("cuDevicePrimaryCtxRetain", device)

    def push(self) -> None:
        self._driver.call("cuCtxPushCurrent", self._context)

    def pop(self) -> None:
        self._driver.call("cuCtxPopCurrent")

    def detach(self) -> None:
        self._driver.call("cuDevicePrimaryCtxRelease", self._device)


class _Stream:
    def __init__(self, driver: BindingsDriver, flags: int) -> None:
        self._driver = driver
        self.handle = int(driver.call("cuStreamCreate", flags))

    def synchronize(self) -> None:
        # Without itself in the frame, a traceback does not keep the stream alive.
        driver, handle = self._driver, self.handle
        del self
        driver.call("cuStreamSynchronize", handle)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._driver.call("cuStreamDestroy", self.handle)


class _Event:
    def __init__(self, driver: BindingsDriver) -> None:
        self._driver = driver
        self._event = driver.call("cuEventCreate", 0)

    def record(self, stream: _Stream) -> None:
        self._driver.call("cuEventRecord", self._event, stream.handle)

    def time_till(self, other: "_Event") -> float:
        """Milliseconds until another event."""
        return float(self._driver.call("cuEventElapsedTime", self._event, other._event))

    def __del__(self) -> None:
        if hasattr(self, "_event"):
            self._driver.call("cuEventDestroy", self._event)


class _DeviceAllocation:
    def __init__(self, driver: BindingsDriver, size: int) -> None:
        self._driver = driver
        self._address = int(driver.call("cuMemAlloc", size))

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._driver.call("cuMemFree", self._address)


class _HostAllocation:
    def __init__(
        self, driver: BindingsDriver, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._driver = driver
        size = max(int(np.prod(shape)) * dtype.itemsize, 1)
        self._address = int(driver.call("cuMemHostAlloc", size, _PORTABLE))
        self.__array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (self._address, False),
            "version": 3,
        }

    def free(self) -> None:
        self._driver.call("cuMemFreeHost", self._address)
