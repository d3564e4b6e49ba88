import io
import pickle

import pytest

from emonet_deploy.emonet_ref.storage import bounded_pickle
from emonet_deploy.emonet_ref.storage.bounded_pickle import (
    GuardedUnpickler,
    PickleError,
    PickleLimitError,
    checked_key,
)

PLAIN = {
    "list": [1, 2.5, "text", None, True, b"bytes", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "dict": {"one": 1, 2: "two", (3, "x"): {}},
    "sets": [{1, 2}, frozenset({"a", "b"}), set()],
    "bytes": bytearray(b"changes"),
    "long": "x" * 300,
}


def read(content):
    return GuardedUnpickler(io.BytesIO(content)).load()


@pytest.mark.parametrize("protocol", range(1, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_come_back(protocol):
    # Before protocol 4 sets, before 5 byte arrays, are written as calls.
    plain = {k: v for k, v in PLAIN.items() if protocol >= {"sets": 4, "bytes": 5}.get(k, 0)}
    plain = plain if protocol > 2 else {"list": plain["list"][:5], "dict": plain["dict"]}
    found = read(pickle.dumps(plain, protocol))
    assert found == plain
    assert [type(value) for value in found.values()] == [type(value) for value in plain.values()]


def test_one_object_twice_is_one_object():
    shared = [1]
    first, second = read(pickle.dumps([shared, shared]))
    assert first is second


def test_pickles_that_follow_each_other_are_read_one_by_one():
    content = io.BytesIO(pickle.dumps([1]) + pickle.dumps({"a": 2}) + b"rest")
    reader = GuardedUnpickler(content)
    assert [reader.load(), reader.load()] == [[1], {"a": 2}]
    assert content.read() == b"rest"


def test_text_of_python_2_is_latin_1():
    assert read(b"\x80\x02U\x03a\xe9\xff.") == "a\xe9\xff"


@pytest.mark.parametrize("cut", [0, 1, 5, -1])
def test_what_is_cut_short_is_no_pickle(cut):
    with pytest.raises((PickleError, IndexError, KeyError, pickle.UnpicklingError)):
        read(pickle.dumps([1, 2, 3])[:cut])
    with pytest.raises(PickleError, match="cut short"):
        read(b"\x80\x04]")


@pytest.mark.parametrize(
    ("program", "what"),
    [
        (b"]K\x01R.", "without arguments"),
        (b"])R.", "asks to run a list"),
        (b"]K\x01b.", "changes a list"),
        (b"](K\x01\x90.", "adds to a list"),
        (b"(I1\nios\nsystem\n.", "never are"),
        (b")o.", "never are"),
        (b"N)\x81.", "never are"),
        (b"N)}\x92.", "never are"),
        (b"\x82\x01.", "never are"),
        (b"\x83\x01\0.", "never are"),
        (b"\x84\x01\0\0\0.", "never are"),
        (b"\x97.", "never are"),
        (b"N\x98.", "never are"),
    ],
)
def test_what_makes_or_changes_objects_is_refused(program, what):
    with pytest.raises(PickleError, match=what):
        read(program)


def test_an_empty_state_changes_nothing():
    assert read(b"]}b.") == []


@pytest.mark.parametrize(
    "key",
    [None, "text", b"bytes", True, 0, 2**64 - 1, -(2**64 - 1), (), ("a", 1), (1,) * 16],
    ids=repr,
)
def test_keys_that_are_hashed_at_once_are_taken(key):
    assert checked_key(key) is key


@pytest.mark.parametrize(
    "key", [1.5, 2**64, -(2**64), (1,) * 17, ((1,),), ("a", 2**64), frozenset()], ids=repr
)
def test_other_keys_are_refused(key):
    with pytest.raises(PickleLimitError, match=f"uses a {type(key).__name__} as a key"):
        checked_key(key)


@pytest.mark.parametrize(
    "program",
    [b"}G%sNs.", b"}(G%sNu.", b"(G%sNd.", b"\x8f(G%s\x90.", b"(G%s\x91."],
    ids=["SETITEM", "SETITEMS", "DICT", "ADDITEMS", "FROZENSET"],
)
def test_every_way_to_use_a_key_looks_at_it(program):
    with pytest.raises(PickleLimitError, match="uses a float as a key"):
        read(program.replace(b"%s", bytes(8)))


@pytest.mark.parametrize("program", [b"}(K\x01u.", b"(K\x01d."], ids=["SETITEMS", "DICT"])
def test_a_key_without_a_value_is_refused(program):
    with pytest.raises(ValueError, match="shorter"):
        read(program)


def test_keys_and_values_keep_their_order():
    assert read(b"(K\x01K\x02K\x03K\x04d.") == {1: 2, 3: 4}
    assert read(b"}(K\x01K\x02K\x03K\x04u.") == {1: 2, 3: 4}
    assert read(b"}K\x01K\x02s.") == {1: 2}


def test_a_length_goes_no_further_than_the_content():
    with pytest.raises(PickleError, match="cut short"):
        read(b"\x96" + (1 << 62).to_bytes(8, "little") + b"all that follows.")
    assert read(b"\x96" + (2).to_bytes(8, "little") + b"ab.") == bytearray(b"ab")


@pytest.mark.parametrize(
    ("part", "parts"),
    [(b"]", 1), (b"(l", 1), (b"}", 1), (b"(d", 1), (b"\x8f", 1), (b"(\x91", 1), (b"(t", 1),
     (b"N\x85", 1), (b"NN\x86", 1), (b"NNN\x87", 1), (b"Np0\n", 1), (b"Nq\0", 1),
     (b"Nr\0\0\0\0", 1), (b"N\x94", 1), (b"N", 0), (b"K\x01", 0)],
)  # fmt: skip
def test_containers_and_what_is_remembered_are_counted(part, parts):
    reader = GuardedUnpickler(io.BytesIO(part * 3 + b"."))
    reader.load()
    assert reader.parts == 3 * parts


def test_there_may_be_so_many_parts_and_no_more(monkeypatch):
    monkeypatch.setattr(bounded_pickle, "MAX_PARTS", 5)
    assert read(b"]" * 5 + b".") == []
    with pytest.raises(PickleLimitError, match="too many parts"):
        read(b"]" * 6 + b".")
    reader = GuardedUnpickler(io.BytesIO(b""))
    reader.count(5)
    with pytest.raises(PickleLimitError, match="too many parts"):
        reader.count(1)
