from pathlib import Path

import numpy as np
import pytest

from emonet_deploy.benchmarks.datasets.base import (
    CLASS_OF,
    Dataset,
    Sample,
    number,
    path_guard,
    shown,
    unit_number,
)
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.errors import DatasetError

AFFECTNET = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"]


def a_set(n=3, nclass=8, **changes):
    samples = tuple(Sample(f"{i}.png", i, i / 10, -i / 10, (0, 0, i, 1)) for i in range(1, n + 1))
    return Dataset("faces", Path("pictures"), nclass, samples, **changes)


@pytest.mark.parametrize("nclass", [5, 8])
def test_classes_are_affectnets_by_name(nclass):
    found = {AFFECTNET[number]: CLASS_NAMES[nclass][index].lower() for number, index in
             CLASS_OF[nclass].items()}  # fmt: skip
    assert len(found) == nclass
    assert all(word[:5] == name[:5] for word, name in found.items()), found


def test_a_set_has_its_labels_in_order_and_may_be_cut_short():
    whole = a_set()
    assert len(whole) == 3
    labels = whole.labels()
    assert labels.expression.tolist() == [1, 2, 3]
    assert labels.valence.tolist() == [0.1, 0.2, 0.3]
    assert labels.arousal.tolist() == [-0.1, -0.2, -0.3]
    assert [sample.path for sample in whole.first(2).samples] == ["1.png", "2.png"]
    assert whole.first(9) == whole
    assert not whole.is_published


def test_a_fingerprint_is_of_the_samples_and_all_that_is_true_of_them():
    whole = a_set()
    assert whole.fingerprint() == a_set(left_out={"x": 1}).fingerprint()
    others = {whole.first(2).fingerprint(), a_set(nclass=5).fingerprint(), a_set(4).fingerprint()}
    assert whole.fingerprint() not in others
    assert len(others) == 3
    assert len(whole.fingerprint()) == 64


def test_an_empty_set_says_what_was_left_out():
    with pytest.raises(
        DatasetError, match=r"faces: no sample is left to evaluate; check .*neutral"
    ):
        a_set(0)
    with pytest.raises(DatasetError, match=r"\(left out: 2 without a face, 1 odd\)"):
        a_set(0, left_out={"without a face": 2, "odd": 1})


@pytest.mark.parametrize("value", ["0.5", 0.5, np.float32(0.5), np.array(0.5), " 5e-1 "])
def test_a_number_may_be_text(value):
    assert number(value, "v") == 0.5


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x", "v is 'x', which is no number"),
        (None, "no number"),
        ([1], "no number"),
        (1j, "no number"),
        (10**400, "no number"),
        ("inf", "not finite"),
        (float("nan"), "not finite"),
    ],
)
def test_what_is_no_number_is_an_error(value, message):
    with pytest.raises(DatasetError, match=message):
        number(value, "v")


def test_the_ends_of_the_scale_belong_to_it():
    assert [unit_number(value, "v") for value in (-1, "1", 0)] == [-1, 1, 0]
    for value in (1.0000001, -1.0000001):
        with pytest.raises(DatasetError, match="outside"):
            unit_number(value, "v")


@pytest.mark.parametrize("length", [0, 98, 99, 10_000])
def test_values_are_shown_whole_or_cut(length):
    class Long:
        def __repr__(self):
            return "x" * length

    assert shown("abc") == "'abc'"
    assert len(shown(Long())) <= 103
    assert len(shown([["y" * 1000] * 50] * 50)) <= 103
    deep = []
    deep.append(deep)
    assert len(shown(deep)) <= 103


def test_a_long_value_is_cut_at_a_hundred_characters():
    values = [10**20 + i for i in range(6)]
    assert len(repr(values[:4])) < 100 < len(repr(values))
    assert shown(values[:4]) == repr(values[:4])
    assert shown(values) == repr(values)[:100] + "..."


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "set" / "pictures"
    (root / "in").mkdir(parents=True)
    (tmp_path / "set" / "outside").mkdir()
    (root / "in" / "a.png").touch()
    (tmp_path / "set" / "outside" / "b.png").touch()
    (root / "link").symlink_to(tmp_path / "set" / "outside")
    (root / "in" / "out.png").symlink_to(tmp_path / "set" / "outside" / "b.png")
    (root / "in" / "home.png").symlink_to("a.png")
    return root


def test_paths_are_given_from_the_folder_of_the_pictures(pictures):
    inside = path_guard(pictures)
    for path in ("in/a.png", "in\\a.png", "./in//a.png", str(pictures / "in" / "a.png")):
        assert inside(path) == "in/a.png"
    assert inside("in/home.png") == "in/home.png"  # a link that stays
    assert inside("in/absent.png") == "in/absent.png"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../outside/b.png", "leaves"),
        ("in/../../outside/b.png", "leaves"),
        ("in\\..\\..\\outside\\b.png", "leaves"),
        ("/etc/passwd", "leaves"),
        ("C:\\a.png", "leaves"),
        ("C:a.png", "leaves"),
        ("a\0.png", "leaves"),
        ("link/b.png", "links to outside"),
        ("in/out.png", "links to outside"),
        ("a\ud800.png", "no Unicode text"),
    ],
)
def test_a_path_to_outside_is_an_error_each_time(pictures, path, message):
    inside = path_guard(pictures)
    for _ in range(2):
        with pytest.raises(DatasetError, match=message):
            inside(path)
    assert inside("in/a.png") == "in/a.png"


def test_a_folder_that_is_itself_a_link_holds_its_pictures_under_both_names(pictures, tmp_path):
    (tmp_path / "other").symlink_to(pictures)
    inside = path_guard(tmp_path / "other")
    assert inside(str(tmp_path / "other" / "in" / "a.png")) == "in/a.png"
    assert inside(str(pictures / "in" / "a.png")) == "in/a.png"
