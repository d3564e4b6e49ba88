import json
import pickle

import numpy as np
import pytest

from emonet_deploy.benchmarks.datasets.affectnet_pickle import (
    FIELDS,
    is_consistent,
    read_affectnet,
)
from emonet_deploy.errors import DatasetError

LANDMARKS = np.linspace([10.0, 20.0], [60.0, 90.0], 68)


def record(**changes):
    happy = {"expression": 1, "expression_correct": True, "valence": 0.5, "arousal": 0.1}
    return {**happy, "landmarks_fan": LANDMARKS, **changes}


@pytest.fixture
def write(tmp_path):
    def write(records, split="test"):
        (tmp_path / split).mkdir(exist_ok=True)
        (tmp_path / f"{split}_fullpath.pkl").write_bytes(pickle.dumps(records))
        return tmp_path

    return write


@pytest.mark.parametrize("nclass", [5, 8])
def test_the_authors_cleaning_is_reproduced(data, write, nclass):
    golden = json.loads((data / "cleaned_set.json").read_text())
    records = {
        key: value if key == "folder" else {**value, "landmarks_fan": LANDMARKS.tolist()}
        for key, value in golden["records"].items()
    }
    read = read_affectnet(write(records), nclass)
    expected = golden["expected"][str(nclass)]
    kept = {sample.path: sample.expression for sample in read.samples}
    assert list(kept) == expected["kept"]
    assert list(kept.values()) == expected["labels"]


def test_a_sample_carries_its_annotations_and_landmark_box(write):
    root = write({"0/a.png": record(valence="0.5", arousal=np.float32(0.25)), "folder": "x"}, "val")
    (sample,) = read_affectnet(root, 5, "val").samples
    assert (sample.path, sample.expression) == ("0/a.png", 1)
    assert (sample.valence, sample.arousal) == (0.5, 0.25)
    assert sample.box == (10.0, 20.0, 60.0, 90.0)


@pytest.mark.parametrize("field", FIELDS)
def test_a_sample_that_lacks_a_field_is_named(write, field):
    broken = record()
    del broken[field]
    with pytest.raises(DatasetError, match=rf"sample 'b\.png': lacks {field}"):
        read_affectnet(write({"a.png": record(), "b.png": broken}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valence": 1.5}, "valence is 1.5, which is outside"),
        ({"arousal": -2.0}, "arousal is -2, which is outside"),
        ({"valence": "high"}, "valence is 'high', which is no number"),
        ({"valence": None}, "valence is None, which is no number"),
        ({"arousal": float("nan")}, "arousal is nan, which is not finite"),
        ({"expression": "happy"}, "expression is 'happy', which is no number"),
        ({"expression_correct": "no"}, "expression_correct is 'no'"),
        ({"landmarks_fan": LANDMARKS[:67]}, "68 x 2 finite numbers, not 67 x 2"),
        ({"landmarks_fan": None}, "68 x 2 finite numbers"),
        ({"landmarks_fan": "none"}, "68 x 2 numbers"),
        ({"landmarks_fan": LANDMARKS * np.nan}, "finite"),
        ({"landmarks_fan": LANDMARKS * [1, 0]}, "no area"),
    ],
)
def test_an_impossible_value_is_named_with_its_sample(write, changes, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read_affectnet(write({"a.png": record(), "b.png": record(**changes)}))
    assert "'b.png'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_the_cleaning_skips_may_hold_anything(write):
    skipped = {
        "uncertain.png": record(expression=9, valence=-2.0, arousal=-2.0),
        "wrong.png": record(expression_correct=False, valence=-2.0, landmarks_fan=[]),
        "faint.png": record(valence=0.1, arousal=0.1, landmarks_fan=[]),
    }
    assert len(read_affectnet(write({**skipped, "a.png": record()})).samples) == 1


def doubled():
    """A short list with 2**45 numbers in it."""
    value = [1.0]
    for _ in range(45):
        value = [value, value]
    return value


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [doubled(), 10**400, "9" * 5000, {"x": doubled()}], ids=range(4))
def test_a_value_without_end_is_one_short_line(write, field, value):
    with pytest.raises(DatasetError) as caught:
        read_affectnet(write({"a.png": record(), "b.png": record(**{field: value})}))
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_landmarks_may_be_lists_of_any_kind(write):
    forms = [LANDMARKS.tolist(), tuple(map(tuple, LANDMARKS.tolist())), list(LANDMARKS), LANDMARKS]
    for form in forms:
        read = read_affectnet(write({"a.png": record(landmarks_fan=form)}))
        assert read.samples[0].box == (10.0, 20.0, 60.0, 90.0)


def test_what_is_left_out_is_counted_by_its_reason(write):
    skipped = {
        "uncertain.png": record(expression=9, valence=-2.0, arousal=-2.0),
        "wrong.png": record(expression_correct=False),
        "faint.png": record(valence=0.1, arousal=0.1),
        "fainter.png": record(valence=0.1, arousal=0.0),
    }
    read = read_affectnet(write({**skipped, "a.png": record()}))
    assert sorted(read.left_out.values()) == [1, 1, 2]
    assert read.is_published


@pytest.mark.parametrize("path", ["../a.png", "x/../../a.png", "/etc/passwd", "a\0.png", 7])
def test_a_path_that_leaves_the_root_is_refused(write, path):
    with pytest.raises(DatasetError, match="sample"):
        read_affectnet(write({path: record()}))


def test_a_symbolic_link_may_stay_inside_but_not_lead_outside(write, tmp_path_factory):
    root = write({"a.png": record(), "in/b.png": record(), "c.png": record()})
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.png").write_bytes(b"")
    (root / "test/real").mkdir()
    (root / "test/real/b.png").write_bytes(b"")
    (root / "test/in").symlink_to(root / "test/real")
    (root / "test/c.png").symlink_to("real/b.png")
    assert len(read_affectnet(root).samples) == 3
    (root / "test/a.png").symlink_to(outside / "secret.png")
    with pytest.raises(DatasetError, match=r"'a\.png' links to outside"):
        read_affectnet(root)
    (root / "test/a.png").unlink()
    (root / "test/in").unlink()
    (root / "test/in").symlink_to(outside)
    with pytest.raises(DatasetError, match=r"'in/b\.png' links to outside"):
        read_affectnet(root)


def test_a_root_that_is_a_link_itself_is_fine(write, tmp_path):
    root = write({"a.png": record()})
    (root / "test").rename(tmp_path / "elsewhere")
    (root / "test").symlink_to(tmp_path / "elsewhere")
    assert len(read_affectnet(root).samples) == 1


def test_a_wrong_root_says_what_a_right_one_is(tmp_path, write):
    with pytest.raises(DatasetError, match=r"does not hold val_fullpath\.pkl"):
        read_affectnet(write({"a.png": record()}), 8, "val")


def test_an_empty_set_after_cleaning_is_an_error(write):
    with pytest.raises(DatasetError, match="no sample is left"):
        read_affectnet(write({"a.png": record(expression=5, valence=-0.9)}), 5)


@pytest.mark.parametrize("records", [[record()], {"a.png": 3}, "text"])
def test_a_pickle_of_something_else_is_an_error(write, records):
    with pytest.raises(DatasetError, match="dict of annotations"):
        read_affectnet(write(records))


E = 1e-9
"""Just beside a limit."""


@pytest.mark.parametrize(
    ("expression", "fits", "does_not"),
    [
        (0, [(0, 0), (-0.2 + E, 0), (0, 0.2 - E)], [(0.2, 0), (0, -0.2), (0.15, 0.15)]),
        (1, [(0.2 + E, 0), (E, -0.5)], [(0.2, 0), (0, 0.5), (-0.5, 0.5)]),
        (2, [(-0.2 - E, 0), (-E, 0.5)], [(-0.2, 0), (0, -0.5), (0.5, 0)]),
        (3, [(0, 0.2 + E), (0.9, E)], [(0, 0.2), (0.9, 0), (0, -0.5)]),
        (4, [(0, 0.2 + E), (-0.9, 0), (-0.1, 0.5)], [(0, 0.2), (0.1, 0.9), (-0.9, -0.1)]),
        (5, [(-0.3 - E, 0), (-E, 0.5)], [(-0.3, 0), (0, 0.5), (0.5, 0)]),
        (6, [(0, 0.2 + E), (0.9, E)], [(0, 0.2), (0.9, 0), (0, -0.5)]),
        (7, [(-0.2 - E, 0), (-E, 0.5)], [(-0.2, 0), (0, -0.5), (0.5, 0)]),
    ],
)
def test_the_papers_cleaning_at_its_limits(expression, fits, does_not):
    """Toisoul et al. 2021, "Data": the sector and the least intensity of each expression."""
    assert [is_consistent(expression, *point) for point in fits] == [True] * len(fits)
    assert [is_consistent(expression, *point) for point in does_not] == [False] * len(does_not)


@pytest.mark.parametrize("expression", [-1, 8])
def test_only_the_eight_emotions_have_a_place(expression):
    with pytest.raises(DatasetError, match="none of 0 to 7"):
        is_consistent(expression, 0.5, 0.5)


def test_reasons_are_counted_apart_and_zero_and_one_are_truth_values(write):
    records = {
        "right.png": record(),
        "wrong.png": record(expression_correct=False),
        "also wrong.png": record(expression_correct=0),
        "unknown.png": record(expression=9),
        "fear.png": record(expression=4, valence=-0.5),
        "unpleasant.png": record(valence=-0.5),
    }
    read = read_affectnet(write(records), 5)
    assert [sample.path for sample in read.samples] == ["right.png"]
    assert read.left_out == {
        "whose expression the authors found wrong": 2,
        "of an expression that the model does not know": 2,
        "whose valence and arousal do not fit the expression": 1,
    }
    assert len(read_affectnet(write(records))) == 2  # of eight classes, and of the test set
    for correct in (2, -1, 1.0, None, "True"):
        with pytest.raises(DatasetError, match="not True or False"):
            read_affectnet(write({"a": record(expression_correct=correct)}))


@pytest.mark.parametrize("split", ["test", "val"])
def test_the_published_figures_are_of_the_test_set(write, split):
    root = write({"a.png": record()}, split)
    assert read_affectnet(root, 8, split).is_published is (split == "test")


@pytest.mark.parametrize("missing", ["test", "test_fullpath.pkl"])
def test_both_the_annotations_and_the_pictures_must_be_there(write, missing):
    root = write({"a.png": record()})
    (root / missing).rename(root / "away")
    with pytest.raises(DatasetError, match=r"does not hold test_fullpath\.pkl and the folder test"):
        read_affectnet(root)


@pytest.mark.parametrize(
    "points",
    [
        LANDMARKS.tolist(),
        tuple(map(tuple, LANDMARKS)),
        list(LANDMARKS),
        [[str(x), y] for x, y in LANDMARKS],
        [*LANDMARKS[:67], LANDMARKS[67].tolist()],
    ],
)
def test_landmarks_may_be_lists_of_whatever_holds_two_numbers(write, points):
    (sample,) = read_affectnet(write({"a.png": record(landmarks_fan=points)})).samples
    assert sample.box == (10.0, 20.0, 60.0, 90.0)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[1, 2, 3]] * 68, "68 x 2 numbers"),
        ([[1]] * 68, "68 x 2 numbers"),
        ([np.zeros(3)] * 68, "68 x 2 numbers"),
        ([np.zeros((2, 1))] * 68, "68 x 2 numbers"),
        ([[1, "x"]] * 68, "68 x 2 numbers"),
        ([["x", 1]] * 68, "68 x 2 numbers"),
        ([5] * 68, "68 x 2 numbers"),
        ([[1, 2]] * 1000, "68 x 2 finite numbers, not 1000 x 2"),
        ([[1, 2]] * 1001, "68 x 2 numbers"),
        ([], "68 x 2 finite numbers, not 0 x 2"),
        (LANDMARKS * [0, 1], "no area"),
    ],
)
def test_landmarks_that_are_none_are_an_error(write, points, message):
    with pytest.raises(DatasetError, match=message):
        read_affectnet(write({"a.png": record(landmarks_fan=points)}))
