"""What an ONNX file says about itself, read without its weights.

An ONNX file is a protocol buffer: fields one after the other, each with a number, a type and, where
it holds text, bytes or a further message, a length. Skipping by those lengths reaches the
properties and every tensor's few bytes of description without reading the weights between them.
Numbers of the fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO, Final

from emonet_deploy.emonet_ref.storage.path_access import open_file, why
from emonet_deploy.errors import ArtifactError

__all__ = ["OnnxProperties", "scan_onnx"]

MAX_FIELDS: Final = 300_000
"""Fields that are looked at; the largest model of this toolkit has 20,000."""

MAX_DEPTH: Final = 16
"""Graphs within graphs, counted in messages."""

MAX_TEXT: Final = 4 << 20
"""Bytes of a property's name or value."""

_VARINT, _LENGTH = 0, 2
_FIXED: Final = {1: 8, 5: 4}
"""How a field is stored: a number, what its length says, or so many bytes."""

_GRAPH, _PROPERTIES, _KEY, _VALUE = 7, 14, 1, 2
_DATA_LOCATION, _EXTERNAL = 14, 1

# Message -> number of a field -> message that this field holds. Fields that are not named here
# cannot lead to a tensor.
_INNER: Final[Mapping[str, Mapping[int, str]]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}  # fmt: skip


@dataclass(frozen=True)
class OnnxProperties:
    """What `scan_onnx` found.

    Attributes:
        metadata: the model's ``metadata_props``.
        external: whether some weights lie in other files, which the model names by path.
    """

    metadata: Mapping[str, str]
    external: bool


def scan_onnx(path: str | os.PathLike[str]) -> OnnxProperties:
    """Read the properties of an ONNX model; the weights are neither read nor checked.

    Raises:
        ArtifactError: the file cannot be read, is no ONNX model, is cut short or is not built as
            one.
    """
    try:
        with open_file(path) as file:
            return _Scan(file).properties()
    except FileNotFoundError as error:
        raise ArtifactError(
            f"no ONNX model at {os.fspath(path)}", hint=f"`{_export_command(path)}` makes one"
        ) from error
    except OSError as error:
        raise ArtifactError(f"cannot read {os.fspath(path)}: {why(error)}") from error
    except _MalformedError as error:
        raise ArtifactError(
            f"{os.fspath(path)} is damaged or not an ONNX file ({error})",
            hint="make it again with `emonet export`",
        ) from error


class _MalformedError(Exception):
    """The bytes are not a model's; why."""


def _export_command(path: str | os.PathLike[str]) -> str:
    """Return what writes a file of this name, as far as names of the toolkit tell it."""
    options = {
        "emonet_5": "--nclass 5", "fp16": "--precision fp16", "bf16": "--precision bf16",
        "int8": "--precision int8", "cpu": "--target cpu", "image": "--io image",
    }  # fmt: skip
    words = PurePath(path).name.split(".")
    return " ".join(["emonet export", *(options[word] for word in words if word in options)])


class _Scan:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0  # kept here, because asking the file costs a call to the system
        self._left = MAX_FIELDS
        self._external = False
        self._graphs = 0
        self._metadata: dict[str, str] = {}

    def properties(self) -> OnnxProperties:
        self._message("Model", os.fstat(self._file.fileno()).st_size, 0)
        if not self._graphs:
            raise _MalformedError("it has no graph")
        return OnnxProperties(self._metadata, self._external)

    def _message(self, kind: str, end: int, depth: int) -> None:
        """Look at the fields of a message from here to ``end``."""
        if depth > MAX_DEPTH:
            raise _MalformedError("its graphs are nested too deeply")
        inner = _INNER[kind]
        while self._at < end:
            self._left -= 1
            if self._left < 0:
                raise _MalformedError("it has too many parts")
            number, wire = divmod(self._varint(), 8)
            if wire == _VARINT:
                value = self._varint()
                if kind == "Tensor" and number == _DATA_LOCATION and value % 2**32 == _EXTERNAL:
                    self._external = True
                continue
            size = self._varint() if wire == _LENGTH else _FIXED.get(wire, -1)
            stop = self._at + size
            if number == 0 or size < 0 or stop > end:
                raise _MalformedError("it is cut short, or no sequence of fields")
            if wire == _LENGTH and number in inner:
                self._graphs += kind == "Model" and number == _GRAPH
                self._message(inner[number], stop, depth + 1)
            elif wire == _LENGTH and kind == "Model" and number == _PROPERTIES:
                self._property(stop)
            self._file.seek(stop)
            self._at = stop
        if self._at != end:
            raise _MalformedError("a part of it crosses the end of what it is part of")

    def _property(self, end: int) -> None:
        texts = {_KEY: "", _VALUE: ""}
        while self._at < end:
            number, wire = divmod(self._varint(), 8)
            size = self._varint() if wire == _LENGTH else -1
            if number not in texts or not 0 <= size <= min(end - self._at, MAX_TEXT):
                raise _MalformedError("one of its properties is no pair of texts")
            try:
                texts[number] = self._file.read(size).decode("utf-8")
            except UnicodeDecodeError as error:
                raise _MalformedError("one of its properties is no text") from error
            self._at += size
        if texts[_KEY] in self._metadata:
            raise _MalformedError("it has a property twice, and readers differ on which one counts")
        self._metadata[texts[_KEY]] = texts[_VALUE]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._file.read(1)
            if not byte:
                raise _MalformedError("it is cut short")
            self._at += 1
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value
        raise _MalformedError("a number in it has no end")
