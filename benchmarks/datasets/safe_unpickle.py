"""Reading annotation pickles without running what they say.

A pickle is a program that may call any function. This reader admits builtin containers, numbers,
strings and NumPy arrays, whether NumPy 1 or 2 wrote them, and nothing else. Not even NumPy's own
reconstruction functions are called: functions of this file stand in for them and build arrays from
checked bytes, so no pickle reaches code that trusts its input. What a name stands for is told from
the name alone, and nothing but half-built arrays is ever changed.
"""

import io
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from emonet_deploy.emonet_ref.storage.bounded_pickle import (
    GuardedUnpickler,
    PickleError,
    checked_key,
)
from emonet_deploy.emonet_ref.storage.path_access import read_bytes, why
from emonet_deploy.errors import DatasetError

__all__ = ["load_pickle"]

MAX_SIZE: Final = 256 << 20
"""Bytes of a pickle; AffectNet's test set has five million."""


def load_pickle(path: str | os.PathLike[str]) -> object:
    """Read a pickle of plain data.

    Returns:
        What the pickle holds; arrays are objects that ``np.asarray`` turns into arrays.

    Raises:
        DatasetError: no such file, a damaged pickle, or one that asks for anything but plain data.
    """
    try:
        return _Unpickler(io.BytesIO(read_bytes(path, MAX_SIZE))).load()
    except (DatasetError, PickleError) as error:
        raise DatasetError(f"{path}: {error}") from error
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {why(error)}; check --data") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise DatasetError(
            f"{path} is no readable pickle ({type(error).__name__}); copy it anew"
        ) from error


class _Dtype:
    """Stands for `numpy.dtype` while it is being restored."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def restore(self, state: tuple[object, ...]) -> None:
        # (version, byte order, subtype, field names, fields, item size, alignment, flags)
        if any(part is not None for part in state[2:5]):
            raise DatasetError("it holds a structured NumPy array; only plain numbers are read")
        if state[1] == ">":
            self.name = f">{self.name.lstrip('>')}"

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

    def restore(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, raw = state
        self.value = _shaped(dtype, raw, shape, "F" if fortran else "C")

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.value, dtype)


def _shaped(dtype: _Dtype, raw: object, shape: tuple[int, ...], order: str) -> NDArray[Any]:
    flat = dtype.array(raw)
    if prod(shape) != flat.size or min(shape, default=0) < 0:
        raise DatasetError("it holds a NumPy array whose bytes do not fill its shape")
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _make_dtype(name: str, align: bool = False, copy: bool = False) -> _Dtype:
    if np.dtype(str(name)).kind not in "biufSU":
        raise DatasetError(f"it holds a NumPy array of type {name}; only numbers are read")
    return _Dtype(str(name))


def _make_array(*_: object) -> _Array:
    return _Array(np.empty(0))


def _from_buffer(raw: object, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    return _Array(_shaped(dtype, raw, shape, order))


def _scalar(dtype: _Dtype, raw: object) -> object:
    (value,) = dtype.array(raw)
    return value.item()


def _bytes() -> bytes:
    # How Python 3 writes empty bytes in the protocols of Python 2.
    return b""


def _encode(text: str, encoding: str) -> bytes:
    # How Python 3 writes bytes in the protocols of Python 2.
    if encoding != "latin1":
        raise DatasetError(f"it encodes text as {encoding}; only latin1 is read")
    return text.encode("latin1")


def _set(values: Iterable[Any] = ()) -> set[Any]:
    return set(map(checked_key, values))


def _frozenset(values: Iterable[Any] = ()) -> frozenset[Any]:
    return frozenset(map(checked_key, values))


def _ordered(pairs: Iterable[tuple[Any, Any]] = ()) -> OrderedDict[Any, Any]:
    return OrderedDict((checked_key(key), value) for key, value in pairs)


class _Name:
    """What a name in a pickle stands for; there is nothing to be called or changed in it."""

    __slots__ = ("name",)

    def __init__(self, name: tuple[str, str]) -> None:
        self.name = name


_CALLS: Final[Mapping[tuple[str, str], Callable[..., object]]] = {
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): _frozenset,
    ("builtins", "bytes"): _bytes,
    ("collections", "OrderedDict"): _ordered,
    ("numpy", "dtype"): _make_dtype,
    ("numpy._core.multiarray", "_reconstruct"): _make_array,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}
_ARRAY: Final = ("numpy", "ndarray")  # only ever handed back to `_reconstruct`


class _Unpickler(GuardedUnpickler):
    def find_class(self, module: str, name: str) -> object:
        # Python 2 and NumPy 1 used other names.
        module = module.replace("__builtin__", "builtins").replace("numpy.core", "numpy._core")
        if (module, name) not in _CALLS and (module, name) != _ARRAY:
            raise DatasetError(
                f"it asks to run `{module}.{name}`, which may be an attack; use a pickle of plain "
                "containers, numbers, strings and NumPy arrays"
            )
        return _Name((module, name))

    def call(self, function: object, arguments: tuple[Any, ...]) -> object:
        if not isinstance(function, _Name) or function.name not in _CALLS:
            return super().call(function, arguments)
        return _CALLS[function.name](*arguments)

    def restore(self, found: object, state: object) -> None:
        if isinstance(found, _Dtype | _Array) and isinstance(state, tuple):
            found.restore(state)
        else:
            super().restore(found, state)
