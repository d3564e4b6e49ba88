"""A GPU through pycuda or cuda-bindings: its primary context, and memory released in it."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.backends.tensorrt.bindings_driver import BindingsDriver
from emonet_deploy.runtime.requirements import CUDA_BINDINGS, CUDA_DRIVER, import_required

__all__ = ["Buffer", "Gpu", "open_gpu"]

Driver: TypeAlias = Any
"""The module ``pycuda.driver``, which has no type stubs, or what stands in for it."""


class Gpu:
    """The first CUDA device and its primary context.

    The primary context is the one that TensorRT, PyTorch and ONNX Runtime share, each in its own
    threads; a private one would not see their memory. It is current only inside ``current()``: a
    context left on a thread's stack aborts the process when the thread ends.
    """

    def __init__(self, driver: Driver) -> None:
        driver.init()
        self.driver = driver
        self._context = driver.Device(0).retain_primary_context()
        # Left to itself, pycuda detaches a primary context as if it were a private one.
        weakref.finalize(self, self._context.detach)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in this thread for the length of the block."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()


class Buffer:
    """Memory for one tensor on the device, and a page-locked array to copy from or to.

    Only page-locked memory is copied while the CPU goes on. Both are released by ``free``, in the
    context they were made in; left to the garbage collector they could end in a thread where that
    is not current, and pycuda would leak them.
    """

    def __init__(self, driver: Driver, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.host: NDArray[Any] = driver.pagelocked_empty(shape, np.dtype(dtype))
        try:
            self.device = driver.mem_alloc(self.host.nbytes)
        except BaseException:
            self.host.base.free()  # pycuda's allocation
            raise

    def free(self) -> None:
        """Release both; nothing may still be copying."""
        allocation: Any = self.host.base
        # The array would point at memory that is gone.
        del self.host
        try:
            self.device.free()
        finally:
            allocation.free()


@cache
def open_gpu() -> Gpu:
    """Return the GPU, opened once for the whole process.

    Raises:
        MissingDependencyError: neither pycuda nor cuda-bindings is installed.
        BackendError: they cannot be loaded, or CUDA finds no device.
    """
    chosen = CUDA_DRIVER.choose()
    driver = import_required(chosen, "run engines")
    if chosen is CUDA_BINDINGS:
        driver = BindingsDriver(driver)
    try:
        return Gpu(driver)
    except (driver.Error, RuntimeError) as error:
        raise BackendError(
            f"CUDA finds no device that can be used ({error}); `emonet doctor` says what is missing"
        ) from error
