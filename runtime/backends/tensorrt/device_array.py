"""Arrays that lie on the GPU: of other libraries, going in, and our own, coming out.

Those of PyTorch, CuPy, Numba and others are read by DLPack or ``__cuda_array_interface__``, without
any of these libraries.
"""

import ctypes
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.tensorrt.cuda import Gpu
from emonet_deploy.runtime.hardware.gpu import wait_for_stream
from emonet_deploy.runtime.metadata import TensorInfo

__all__ = ["DeviceArray", "DeviceInput", "is_on_device", "read_device_array"]

_CUDA: Final = (2, 13)  # kDLCUDA, kDLCUDAManaged of dlpack.h
_LEGACY_STREAM: Final = 1
_KINDS: Final[Mapping[tuple[int, int], str]] = {(2, 32): "<f4", (1, 8): "|u1"}


@dataclass(frozen=True)
class DeviceInput:
    """A batch on the device, ready to be read until ``owner`` goes away."""

    address: int
    shape: tuple[int, ...]
    owner: object

    def __len__(self) -> int:
        return self.shape[0]


class DeviceArray:
    """A result on the GPU; other libraries read it by ``__cuda_array_interface__`` (version 3).

    Its memory is its own and is released with it. The work that fills it is done.

    Example:
        >>> torch.as_tensor(results["expression"], device="cuda")  # doctest: +SKIP
    """

    def __init__(self, gpu: Gpu, shape: tuple[int, ...], dtype: str) -> None:
        self.shape = shape
        kind = np.dtype(dtype)
        self.nbytes = prod(shape) * kind.itemsize
        self.allocation = gpu.driver.mem_alloc(self.nbytes)
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": kind.str,
            "data": (int(self.allocation), False),
            "strides": None,
            "stream": None,  # nobody need wait
            "version": 3,
        }
        weakref.finalize(self, _free, gpu, self.allocation)


def _free(gpu: Gpu, allocation: Any) -> None:  # noqa: ANN401 - no type stubs
    with gpu.current():
        allocation.free()


def is_on_device(images: object) -> bool:
    """Return whether an object is an array on a CUDA device."""
    if hasattr(images, "__dlpack_device__"):
        return bool(images.__dlpack_device__()[0] in _CUDA)
    return hasattr(images, "__cuda_array_interface__")


def read_device_array(images: Any, want: TensorInfo) -> DeviceInput:  # noqa: ANN401 - any library's
    """Return where a batch lies, once what fills it is done; the GPU's context must be current.

    Args:
        images: an array of any library on the first CUDA device, contiguous.
        want: the input it is for.

    Raises:
        InputError: another type or shape, an empty batch, another device, or not contiguous.
        BackendError: its stream cannot be waited for.
    """
    if hasattr(images, "__dlpack__") and hasattr(images, "__dlpack_device__"):
        address, shape, strides, kind, owner = _from_dlpack(images)
    else:
        raw = images.__cuda_array_interface__
        address, shape, kind, owner = raw["data"][0], tuple(raw["shape"]), raw["typestr"], images
        size = np.dtype(kind).itemsize
        strides = tuple(step // size for step in raw["strides"]) if raw.get("strides") else None
        if raw.get("stream") is not None:
            wait_for_stream(int(raw["stream"]))
    expected = " x ".join("N" if size is None else str(size) for size in want.shape)
    if shape[1:] != want.shape[1:] or not shape or shape[0] < 1:
        got = " x ".join(map(str, shape)) or "a scalar"
        raise InputError(f"images must be {expected}, not {got}")
    if np.dtype(kind) != np.dtype(want.dtype):
        raise InputError(f"images must be {want.dtype}, not {np.dtype(kind)}")
    if strides is not None and strides != _row_major(shape):
        raise InputError("images on a device must be contiguous; make a contiguous copy first")
    return DeviceInput(int(address), shape, owner)


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


class _Tensor(ctypes.Structure):
    """``DLTensor`` of dlpack.h, version 0.8; the first member of ``DLManagedTensor``."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def _from_dlpack(
    images: Any,  # noqa: ANN401 - any library's
) -> tuple[int, tuple[int, ...], tuple[int, ...] | None, str, object]:
    if images.__dlpack_device__()[1] != 0:
        raise InputError("images lie on another GPU than the first, on which engines run")
    # What fills the array is done before the legacy stream goes on, and that is waited for.
    capsule = images.__dlpack__(stream=_LEGACY_STREAM)
    wait_for_stream(_LEGACY_STREAM)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _Tensor.from_address(pointer(capsule, b"dltensor"))
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None
    kind = _KINDS.get((tensor.code, tensor.bits), "V1")
    # A capsule that nobody takes over releases the array when it goes away itself.
    return (tensor.data or 0) + tensor.byte_offset, shape, strides, kind, (capsule, images)
