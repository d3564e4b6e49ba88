import contextlib
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_deploy.benchmarks.datasets.safe_unpickle import load_pickle
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
        assert load_pickle(tmp_path / "x.pkl").__self__ is not np


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


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damaged_pickles_give_one_kind_of_error(tmp_path_factory, tail, cut):
    path = tmp_path_factory.mktemp("pickle") / "x.pkl"
    path.write_bytes(pickle.dumps(PLAIN, 4)[:cut] + tail)
    with contextlib.suppress(DatasetError):
        load_pickle(path)


def test_a_missing_pickle_is_an_error_with_its_name(tmp_path):
    with pytest.raises(DatasetError, match=r"absent\.pkl"):
        load_pickle(tmp_path / "absent.pkl")
