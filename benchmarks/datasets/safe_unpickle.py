"""Reading annotation pickles without running what they say.

A pickle is a program that may call any function. This reader admits builtin containers, numbers,
strings and NumPy arrays, whether NumPy 1 or 2 wrote them, and nothing else. Not even NumPy's own
reconstruction functions are called: methods of this file stand in for them and build arrays from
checked bytes, so no pickle reaches code that trusts its input. They are handed out as bound
methods because a pickle could assign attributes to functions and classes, but not to those.
"""

import os
import pickle
from collections import OrderedDict
from math import prod
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike, NDArray

from emonet_deploy.errors import DatasetError

__all__ = ["load_pickle"]

_CONTAINERS = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): OrderedDict,
}


def load_pickle(path: str | os.PathLike[str]) -> object:
    """Read a pickle of plain data.

    Returns:
        What the pickle holds; arrays are objects that ``np.asarray`` turns into arrays.

    Raises:
        DatasetError: no such file, a damaged pickle, or one that asks for anything but plain data.
    """
    try:
        with open(path, "rb") as file:
            # Python 2 wrote array contents as text; Latin-1 gives every byte back.
            return _Unpickler(file, encoding="latin1").load()
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}; check --data") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise DatasetError(
            f"{path} is no readable pickle ({type(error).__name__}); copy it anew"
        ) from error


class _Dtype:
    """Stands for `numpy.dtype` while it is being restored."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __setstate__(self, state: tuple[object, ...]) -> None:
        # (version, byte order, subtype, field names, fields, item size, alignment, flags)
        if any(part is not None for part in state[2:5]):
            raise DatasetError("it holds a structured NumPy array; only plain numbers are read")
        if state[1] == ">":
            self.name = f">{self.name}"

    def array(self, raw: object) -> NDArray[Any]:
        """Return the bytes ``raw`` as a one-dimensional array."""
        data = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(data, bytes | bytearray):
            raise DatasetError("it holds a NumPy array of objects; only plain numbers are read")
        return np.frombuffer(data, self.name)


class _Array:
    """Stands for `numpy.ndarray` while it is being restored; `numpy.asarray` makes it one."""

    __slots__ = ("value",)

    def __init__(self, value: NDArray[Any]) -> None:
        self.value = value

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, raw = state
        self.value = _shaped(dtype, raw, shape, "F" if fortran else "C")

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.value, dtype)


def _shaped(dtype: _Dtype, raw: object, shape: tuple[int, ...], order: str) -> NDArray[Any]:
    flat = dtype.array(raw)
    if prod(shape) != flat.size or min(shape, default=0) < 0:
        raise DatasetError("it holds a NumPy array whose bytes do not fill its shape")
    return flat.reshape(shape, order="F" if order == "F" else "C")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        # Python 2 and NumPy 1 used other names.
        module = module.replace("__builtin__", "builtins").replace("numpy.core", "numpy._core")
        if (module, name) in _CONTAINERS:
            return _CONTAINERS[module, name]
        match module, name:
            case "builtins", "bytes":
                return self._bytes
            case "numpy", "ndarray":
                return name  # only ever handed back to `_reconstruct`
            case "numpy", "dtype":
                return self._dtype
            case "numpy._core.multiarray", "_reconstruct":
                return self._reconstruct
            case "numpy._core.multiarray", "scalar":
                return self._scalar
            case "numpy._core.numeric", "_frombuffer":
                return self._frombuffer
            case "_codecs", "encode":
                return self._encode
        raise DatasetError(
            f"it asks to run `{module}.{name}`, which may be an attack; use a pickle of plain "
            "containers, numbers, strings and NumPy arrays"
        )

    def _dtype(self, name: str, align: bool = False, copy: bool = False) -> _Dtype:
        if np.dtype(str(name)).kind not in "biufSU":
            raise DatasetError(f"it holds a NumPy array of type {name}; only numbers are read")
        return _Dtype(str(name))

    def _reconstruct(self, subtype: str, shape: tuple[SupportsIndex, ...], kind: bytes) -> _Array:
        return _Array(np.empty(0))

    def _frombuffer(self, raw: object, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
        return _Array(_shaped(dtype, raw, shape, order))

    def _scalar(self, dtype: _Dtype, raw: object) -> object:
        (value,) = dtype.array(raw)
        return value.item()

    def _bytes(self) -> bytes:
        # How Python 3 writes empty bytes in the protocols of Python 2.
        return b""

    def _encode(self, text: str, encoding: str) -> bytes:
        # How Python 3 writes bytes in the protocols of Python 2.
        if encoding != "latin1":
            raise DatasetError(f"it encodes text as {encoding}; only latin1 is read")
        return text.encode("latin1")
