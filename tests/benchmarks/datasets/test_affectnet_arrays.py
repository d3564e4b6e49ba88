from pathlib import Path

import numpy as np
import pytest

from emonet_deploy.benchmarks.datasets.affectnet_arrays import find_arrays, read_affectnet_arrays
from emonet_deploy.errors import DatasetError

LANDMARKS = np.linspace([10.0, 20.0], [60.0, 90.0], 68)


def write_sample(root, name, expression="1", valence="0.5", arousal="-0.25", landmarks=LANDMARKS):
    for folder in ("images", "annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "images" / f"{name}.jpg").touch()
    values = {"exp": expression, "val": valence, "aro": arousal, "lnd": landmarks}
    for kind, value in values.items():
        np.save(root / "annotations" / f"{name}_{kind}.npy", value)


def test_the_release_is_found_by_both_its_folders(tmp_path):
    assert find_arrays(tmp_path) is None
    (tmp_path / "images").mkdir()
    assert find_arrays(tmp_path) is None
    with pytest.raises(DatasetError, match="does not hold the folders images and annotations"):
        read_affectnet_arrays(tmp_path)
    for folder in ("images", "annotations"):
        (tmp_path / "val_set" / folder).mkdir(parents=True)
    assert find_arrays(tmp_path) == tmp_path / "val_set"
    (tmp_path / "annotations").mkdir()
    assert find_arrays(tmp_path) == tmp_path


def test_samples_are_in_the_order_of_their_numbers(tmp_path):
    for name in ("10", "9", "100", "2"):
        write_sample(tmp_path, name)
    read = read_affectnet_arrays(tmp_path)
    assert [sample.path for sample in read.samples] == ["2.jpg", "9.jpg", "10.jpg", "100.jpg"]
    assert read.nclass == 8
    assert not read.is_published
    first = read.samples[0]
    assert (first.expression, first.valence, first.arousal) == (1, 0.5, -0.25)
    assert first.box == (10, 20, 60, 90)


@pytest.mark.parametrize("landmarks", [LANDMARKS.ravel(), LANDMARKS.reshape(1, 136)])
def test_landmarks_may_be_a_list(tmp_path, landmarks):
    write_sample(tmp_path, "1", landmarks=landmarks)
    assert read_affectnet_arrays(tmp_path).samples[0].box == (10, 20, 60, 90)


@pytest.mark.parametrize(
    ("changes", "nclass", "reason"),
    [
        ({"expression": "8"}, 8, r"labelled as none of the eight emotions \(8\)"),
        ({"expression": ""}, 8, r"labelled as none of the eight emotions \(8\)"),
        ({"expression": "9"}, 8, r"labelled as an uncertain emotion \(9\)"),
        ({"expression": "4"}, 5, "of an expression that the model does not know"),
        ({"valence": "-2"}, 8, r"without valence and arousal \(-2\)"),
        ({"arousal": "-2.0"}, 8, r"without valence and arousal \(-2\)"),
    ],
)
def test_what_cannot_be_judged_is_counted_by_its_reason(tmp_path, changes, nclass, reason):
    write_sample(tmp_path, "1", **changes)
    with pytest.raises(DatasetError, match=f"left out: 1 {reason}"):
        read_affectnet_arrays(tmp_path, nclass)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valence": "-1.5"}, "valence is -1.5, which is outside"),
        ({"landmarks": np.zeros(137)}, "has 137 coordinates, not 136"),
        ({"landmarks": LANDMARKS * [1, 0]}, "span no area"),
        ({"landmarks": LANDMARKS * [0, 1]}, "span no area"),
        ({"expression": np.array([])}, "1_exp.npy holds 0 values, not one"),
        ({"expression": np.array(["a", "b"])}, "1_exp.npy holds 2 values, not one"),
        ({"arousal": np.array(1j)}, "1_aro.npy holds no numbers"),
    ],
)
def test_an_impossible_value_is_named(tmp_path, changes, message):
    write_sample(tmp_path, "1", **changes)
    with pytest.raises(DatasetError, match=f"sample 1: .*{message}"):
        read_affectnet_arrays(tmp_path)


def test_a_missing_or_damaged_file_is_named(tmp_path):
    write_sample(tmp_path, "1")
    file = tmp_path / "annotations" / "1_val.npy"
    for content in (b"", b"0.5", file.read_bytes()[:-1]):
        file.write_bytes(content)
        with pytest.raises(DatasetError, match=r"1_val\.npy is damaged or no array"):
            read_affectnet_arrays(tmp_path)
    file.unlink()
    with pytest.raises(DatasetError, match=r"cannot read 1_val\.npy"):
        read_affectnet_arrays(tmp_path)


def test_pictures_and_annotations_without_each_other_are_no_samples(tmp_path):
    for name in ("1", "2"):
        write_sample(tmp_path, name)
    Path(tmp_path, "images", "2.jpg").unlink()
    Path(tmp_path, "images", "3.jpg").touch()
    read = read_affectnet_arrays(tmp_path)
    assert [sample.path for sample in read.samples] == ["1.jpg"]
    assert read.left_out == {"without a picture": 1}
