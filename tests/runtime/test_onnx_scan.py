import contextlib
import os

import numpy as np
import onnx
import pytest
from helpers.tiny_model import write_tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime import onnx_scan
from emonet_deploy.runtime.metadata import METADATA_KEY, read_info
from emonet_deploy.runtime.onnx_scan import scan_onnx


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("scan") / "tiny.onnx")


def test_properties_are_those_the_library_reads(tiny):
    found = scan_onnx(tiny)
    model = onnx.load(tiny)
    assert found.metadata == {prop.key: prop.value for prop in model.metadata_props}
    assert METADATA_KEY in found.metadata
    assert not found.external


def test_the_weights_are_not_read(tmp_path):
    # 8 GiB that the disk does not have: a hole in the file stands for the weights.
    record = onnx.load(write_tiny(tmp_path / "tiny.onnx")).metadata_props[0]
    weights = 8 << 30

    def varint(value):
        text = b""
        while value >= 0x80:
            text += bytes([value & 0x7F | 0x80])
            value >>= 7
        return text + bytes([value])

    tensor = b"\x4a" + varint(weights)  # raw_data
    initializer = b"\x2a" + varint(len(tensor) + weights) + tensor
    graph = b"\x3a" + varint(len(initializer) + weights) + initializer
    entry = record.SerializeToString()
    path = tmp_path / "large.onnx"
    with open(path, "wb") as file:
        file.write(b"\x08\x0a" + graph)
        file.seek(weights, os.SEEK_CUR)
        file.write(b"\x72" + varint(len(entry)) + entry)
    assert read_info(path).nclass == 8


def external(tensor):
    """Move a tensor's values out of its model, as far as the model says."""
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="../../etc/passwd")


def in_an_initializer(model):
    external(model.graph.initializer[0])


def in_a_constant(model):
    value = numpy_helper.from_array(np.zeros(3, np.float32), "value")
    external(value)
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=value))


def in_a_branch(model):
    value = numpy_helper.from_array(np.zeros(3, np.float32), "value")
    external(value)
    branch = helper.make_graph([], "branch", [], [], initializer=[value])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=branch))


def in_a_function(model):
    value = numpy_helper.from_array(np.zeros(3, np.float32), "value")
    external(value)
    node = helper.make_node("Constant", [], ["c"], value=value)
    opset = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("own", "f", [], ["c"], [node], opset))


def in_a_sparse_initializer(model):
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    external(values)
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "at")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def in_attributes(kind):
    """One of the lists that an attribute may hold, or a sparse tensor."""

    def move(model):
        value = numpy_helper.from_array(np.ones(1, np.float32), "value")
        external(value)
        at = numpy_helper.from_array(np.zeros(1, np.int64), "at")
        attribute = onnx.AttributeProto(name="a")
        if kind == "graphs":
            attribute.graphs.append(helper.make_graph([], "g", [], [], initializer=[value]))
        elif kind == "tensors":
            attribute.tensors.append(value)
        elif kind == "sparse_tensor":
            attribute.sparse_tensor.CopyFrom(helper.make_sparse_tensor(value, at, [4]))
        else:
            attribute.sparse_tensors.append(helper.make_sparse_tensor(value, at, [4]))
        node = helper.make_node("Any", [], ["c"])
        node.attribute.append(attribute)
        model.graph.node.append(node)

    return move


@pytest.mark.parametrize(
    "move",
    [in_an_initializer, in_a_constant, in_a_branch, in_a_function, in_a_sparse_initializer,
     *map(in_attributes, ("graphs", "tensors", "sparse_tensor", "sparse_tensors"))],
)  # fmt: skip
def test_weights_in_other_files_are_refused_wherever_a_model_names_them(tiny, tmp_path, move):
    model = onnx.load(tiny)
    move(model)
    path = tmp_path / "external.onnx"
    path.write_bytes(model.SerializeToString())
    assert scan_onnx(path).external
    with pytest.raises(ArtifactError, match="keeps weights in other files"):
        read_info(path)


def test_a_property_that_occurs_twice_is_refused(tiny, tmp_path):
    model = onnx.load(tiny)
    model.metadata_props.add(key=METADATA_KEY, value="{}")
    (tmp_path / "twice.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="a property twice"):
        read_info(tmp_path / "twice.onnx")


def test_fields_of_later_versions_are_skipped_by_their_size(tiny, tmp_path):
    """Number 100, stored in eight bytes, in four, as a number, and with its length before it."""
    later = b"\xa1\x06" + bytes(8) + b"\xa5\x06" + bytes(4) + b"\xa0\x06\x05" + b"\xa2\x06\x03abc"
    entry = onnx.StringStringEntryProto(key="k", value="v").SerializeToString()
    path = tmp_path / "x.onnx"
    path.write_bytes(tiny.read_bytes() + later + b"\x72" + bytes([len(entry)]) + entry)
    assert scan_onnx(path).metadata["k"] == "v"


def test_a_number_has_ten_bytes_at_most(tiny, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(tiny.read_bytes() + b"\x08" + b"\x80" * 9 + b"\0")
    scan_onnx(path)
    path.write_bytes(tiny.read_bytes() + b"\x08" + b"\x80" * 10 + b"\0")
    with pytest.raises(ArtifactError, match="a number in it has no end"):
        scan_onnx(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\x0a",
        b"\xff" * 40,
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x3b\x3c",
        b"\x00\x00",
        b"\x3a\x05ab",
        b"<!doctype html>",
    ],
)
def test_what_is_no_model_is_one_line(tmp_path, content):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged or not an ONNX file") as caught:
        scan_onnx(path)
    assert "\n" not in str(caught.value)


def test_depth_and_number_of_parts_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_scan, "MAX_FIELDS", 1000)
    path = tmp_path / "x.onnx"
    path.write_bytes(b"\x3a\x00" * 2000)
    with pytest.raises(ArtifactError, match="too many parts"):
        scan_onnx(path)
    graph = b""
    for _ in range(40):
        for field in (b"\x32", b"\x2a", b"\x0a"):  # attribute.g, node.attribute, graph.node
            size = len(graph)
            length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
            graph = field + length + graph
    size = len(graph)
    path.write_bytes(b"\x3a" + bytes([size & 127 | 128, size >> 7]) + graph)
    with pytest.raises(ArtifactError, match="nested too deeply"):
        scan_onnx(path)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("m.onnx", "emonet export"),
        ("emonet_8.fp32.onnx", "emonet export"),
        ("emonet_8.int8.cpu.onnx", "emonet export --precision int8 --target cpu"),
        ("emonet_5.fp16.image.onnx", "emonet export --nclass 5 --precision fp16 --io image"),
    ],
)
def test_where_a_file_is_not_its_own_export_is_named(tmp_path, name, command):
    with pytest.raises(ArtifactError) as raised:
        read_info(tmp_path / name)
    assert raised.value.hint == f"`{command}` makes one"


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")
    for name, reason in (
        ("pipe", "a device or a pipe"),
        ("zero", "a device or a pipe"),
        ("folder", "it is a folder"),
        ("loop", "symbolic links"),
        ("absent", "no ONNX model at"),
    ):
        with pytest.raises(ArtifactError, match=reason):
            read_info(tmp_path / f"{name}.onnx")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=4), st.floats(0, 1))
def test_any_bytes_are_a_model_or_one_kind_of_error(tiny, tmp_path_factory, changes, end):
    content = bytearray(tiny.read_bytes())
    for at, piece in changes:
        start = int(at * 400) if len(piece) % 2 else int(at * len(content))
        content[start : start + len(piece)] = piece
    path = tmp_path_factory.mktemp("fuzz") / "x.onnx"
    path.write_bytes(content[: int(end * len(content)) + 1])
    with contextlib.suppress(ArtifactError):
        read_info(path)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_one_kind_of_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("noise") / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError):
        read_info(path)
