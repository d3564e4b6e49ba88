import contextlib
import os
import pickle
import pickletools
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_deploy.benchmarks.datasets.safe_unpickle import load_pickle
from emonet_deploy.emonet_ref.storage import bounded_pickle as guarded_pickle
from emonet_deploy.errors import DatasetError

PLAIN = {
    "list": [1, 2.5, "text", None, True, b"bytes", b"", (1, 2), {3}, frozenset({4})],
    "ordered": OrderedDict(a=1),
    "float32": np.float32(0.1),
    "int64": np.int64(-3),
    "bool": np.bool_(True),
    "text": np.str_("3"),
    "matrix": np.arange(12.0).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
    "big_endian": np.arange(4, dtype=">f4"),
    "bytes": np.array([b"ab", b"c"]),
    "strings": np.array(["ab", "c"]),
    "empty": np.empty((0, 2)),
}


def save(path, obj, protocol=None):
    path.write_bytes(pickle.dumps(obj, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("numpy_module", [b"numpy._core", b"numpy.core"])
def test_plain_data_comes_back_whichever_numpy_wrote_it(tmp_path, protocol, numpy_module):
    written = pickle.dumps(PLAIN, protocol)
    if protocol < 4:  # later protocols carry the length of the name before it
        written = written.replace(b"numpy._core", numpy_module)
    (tmp_path / "x.pkl").write_bytes(written)
    read = load_pickle(tmp_path / "x.pkl")
    assert read.keys() == PLAIN.keys()
    assert read["list"] == PLAIN["list"]
    for name, value in PLAIN.items():
        assert np.array_equal(np.asarray(read[name], object), np.asarray(value, object)), name
        if isinstance(value, np.ndarray):
            assert np.asarray(read[name]).dtype == value.dtype


def test_a_python_2_pickle_is_read(tmp_path):
    # Written out by hand: array contents as an 8-bit string, numpy 1 names, protocol 2.
    raw = np.array([0.5, -1.5]).tobytes()
    body = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01K\x02\x85cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U" + bytes([len(raw)]) + raw + b"tb."
    )
    (tmp_path / "x.pkl").write_bytes(body)
    assert np.asarray(load_pickle(tmp_path / "x.pkl")).tolist() == [0.5, -1.5]


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.system, os.mkdir, eval, exec, getattr, open, print])
def test_code_is_refused_by_name_and_never_runs(tmp_path, protocol, function):
    trace = tmp_path / "trace"
    argument = f"open({str(trace)!r}, 'w')" if function in (eval, exec) else f"{trace}"
    path = save(tmp_path / "x.pkl", {"a.png": Call(function, argument)}, protocol)
    with pytest.raises(DatasetError, match=f"{function.__name__}`, which may be an attack"):
        load_pickle(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "written",
    [
        b"cnumpy._core.multiarray\nscalar\n.",
        b"cos\nsystem\n.",
        b"cnumpy\nload\n.",
        b"cnumpy.f2py.capi_maps\ngetinit\n.",
        b"cbuiltins\nset.__class__\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x0dset.__class__\x93.",
    ],
)
def test_names_beside_the_admitted_ones_lead_nowhere(tmp_path, written):
    (tmp_path / "x.pkl").write_bytes(written)
    with contextlib.suppress(DatasetError):
        found = load_pickle(tmp_path / "x.pkl")
        assert not callable(found)
        assert not hasattr(found, "__dict__")


def test_a_pickle_cannot_change_the_reader(tmp_path):
    # BUILD with (None, {name: value}) assigns attributes to what lies below it.
    (tmp_path / "x.pkl").write_bytes(b"cnumpy\ndtype\n(N}S'__doc__'\nS'changed'\nstb.")
    with pytest.raises(DatasetError):
        load_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize(
    "value",
    [
        np.array([{}, None], object),
        np.zeros(2, [("a", "f8"), ("b", "O")]),
        np.zeros(2, [("a", "f8")]),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, complex),
    ],
)
def test_arrays_of_anything_but_numbers_and_text_are_refused(tmp_path, value):
    with pytest.raises(DatasetError):
        load_pickle(save(tmp_path / "x.pkl", {"a": value}))


def test_an_array_larger_than_its_bytes_is_refused(tmp_path):
    written = pickle.dumps(np.arange(3.0), 2).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85", 1)
    (tmp_path / "x.pkl").write_bytes(written)
    with pytest.raises(DatasetError, match="do not fill"):
        load_pickle(tmp_path / "x.pkl")


def opcodes(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


DOUBLED = b")" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(1, 46))
"""A tuple of two references to a tuple of two references to ... : 2**45 parts to hash."""


@pytest.mark.parametrize(
    "written",
    [
        opcodes(b"}", DOUBLED, b"K\x01s"),
        opcodes(b"}(", DOUBLED, b"K\x01u"),
        opcodes(b"(", DOUBLED, b"K\x01d"),
        opcodes(b"\x8f(", DOUBLED, b"\x90"),
        opcodes(b"(", DOUBLED, b"\x91"),
        opcodes(b"c__builtin__\nset\n(](", DOUBLED, b"etR"),
        opcodes(b"ccollections\nOrderedDict\n(]((", DOUBLED, b"K\x01tetR"),
        opcodes(b"]", b"(K\x01K\x02e", b"2ba"),
        bytes.fromhex("80024e72ffffff0f2e")[:-1],
        opcodes(b"\x8e" + (1 << 40).to_bytes(8, "little")),
        opcodes(b"\x8d" + (1 << 40).to_bytes(8, "little")),
        opcodes(b"\x96" + (1 << 40).to_bytes(8, "little")),
        opcodes(b"\x8b\xff\xff\xff\x7f"),
        opcodes(b"\x95" + (1 << 62).to_bytes(8, "little"), b"X\xff\xff\xff\x7f"),
        opcodes(b"}", b"\x8a\xff" + b"\x7f" * 255, b"K\x01s"),
        opcodes(b"ccollections\nOrderedDict\n)R}X\x05\0\0\0itemsX\x01\0\0\0xsb"),
        opcodes(b"cnumpy\ndtype\n}X\x03\0\0\0abcX\x01\0\0\0xsb"),
        opcodes(b"cnumpy\ndtype\n)\x81"),
        opcodes(b"(cnumpy\ndtype\no"),
        opcodes(b"(inumpy\ndtype\n"),
        opcodes(b"\x82\x01"),
        opcodes(b"Pname\n"),
    ],
)
def test_what_could_hang_fill_the_memory_or_change_the_reader_is_refused(tmp_path, written):
    (tmp_path / "x.pkl").write_bytes(written)
    with pytest.raises(DatasetError) as caught:
        load_pickle(tmp_path / "x.pkl")
    assert "\n" not in str(caught.value)


def test_an_index_of_what_is_remembered_costs_nothing(tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02Nr\xff\xff\xff\x0f.")
    tracemalloc.start()
    assert load_pickle(tmp_path / "x.pkl") is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_pickle_of_too_many_parts_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(guarded_pickle, "MAX_PARTS", 1000)
    (tmp_path / "x.pkl").write_bytes(opcodes(b"(", b"]" * 2000, b"l"))
    with pytest.raises(DatasetError, match="too many parts"):
        load_pickle(tmp_path / "x.pkl")


def test_only_files_of_a_reasonable_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.pkl")
    (tmp_path / "zero.pkl").symlink_to("/dev/zero")
    with open(tmp_path / "large.pkl", "wb") as file:
        file.truncate(1 << 40)
    for name, reason in (("pipe", "a pipe"), ("zero", "a pipe"), ("large", "larger than 256 MiB")):
        with pytest.raises(DatasetError, match=reason):
            load_pickle(tmp_path / f"{name}.pkl")


CODES = st.sampled_from([code.code.encode("latin1") for code in pickletools.opcodes])


@settings(max_examples=500, deadline=None)
@given(st.lists(CODES | st.binary(max_size=4) | st.just(b"(") | st.just(b"h\x00"), max_size=60))
def test_any_program_is_plain_data_or_one_kind_of_error(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("program") / "x.pkl"
    path.write_bytes(b"\x80\x04" + b"".join(parts) + b".")
    with contextlib.suppress(DatasetError):
        load_pickle(path)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damaged_pickles_give_one_kind_of_error(tmp_path_factory, tail, cut):
    path = tmp_path_factory.mktemp("pickle") / "x.pkl"
    path.write_bytes(pickle.dumps(PLAIN, 4)[:cut] + tail)
    with contextlib.suppress(DatasetError):
        load_pickle(path)


def test_a_missing_pickle_is_an_error_with_its_name(tmp_path):
    with pytest.raises(DatasetError, match=r"absent\.pkl"):
        load_pickle(tmp_path / "absent.pkl")
