import contextlib
import json
import shutil
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emonet_deploy.benchmarks.choices import DatasetFormat
from emonet_deploy.benchmarks.datasets import load
from emonet_deploy.benchmarks.datasets.convert import write_table
from emonet_deploy.benchmarks.datasets.csv_table import read_table
from emonet_deploy.benchmarks.datasets.load import find_format, read_dataset
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.errors import DatasetError

FIELD = Path(__file__).parents[2] / "data" / "field"
LANDMARKS = np.linspace([10.0, 20.0], [60.0, 90.0], 68).tolist()
PICTURE = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()


@pytest.fixture
def arrays(tmp_path):
    return Path(shutil.copytree(FIELD / "affectnet_arrays", tmp_path / "affectnet"))


@pytest.fixture
def afew(tmp_path):
    """Two clips of two frames each, the second in a part's folder; one frame has no picture."""
    root = tmp_path / "afew"
    for clip, emotions in (("001", [(10, -10), (3, 0)]), ("02/013", [(-7, 5), (0, 0)])):
        folder = root / clip
        folder.mkdir(parents=True)
        frames = {}
        for at, (valence, arousal) in enumerate(emotions):
            frames[f"{at:05d}"] = {"valence": valence, "arousal": arousal, "landmarks": LANDMARKS}
            if (clip, at) != ("02/013", 1):
                (folder / f"{at:05d}.png").write_bytes(PICTURE)
        content = {"actor": "x", "video_id": folder.name, "frames": frames}
        (folder / f"{folder.name}.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def affwild(tmp_path):
    """A video for validation, one for training; of four frames one is unmarked, one not there."""
    root = tmp_path / "affwild"
    for part, name in (("Validation_Set", "7-60-1920x1080"), ("Train_Set", "video9")):
        annotations = root / "annotations" / "VA_Set" / part
        annotations.mkdir(parents=True)
        text = "valence,arousal\n0.5,-0.25\n-5,-5\n0.1,0.2\n-1,1\n"
        (annotations / f"{name}.txt").write_text(text)
        pictures = root / "cropped_aligned" / name
        pictures.mkdir(parents=True)
        for at in (1, 2, 4):
            (pictures / f"{at:05d}.jpg").write_bytes(PICTURE)
    return root


def test_affectnets_later_release_is_read(arrays):
    read = read_dataset(arrays)
    assert find_format(arrays) == "affectnet-arrays"
    found = [(s.path, s.expression, s.valence, s.arousal) for s in read.samples]
    assert found == [
        ("0.jpg", 1, 0.6, 0.3), ("1.jpg", 2, -0.5, 0.1), ("2.jpg", 0, 0.02, 0.05),
        ("3.jpg", 6, -0.4, 0.6),
    ]  # fmt: skip
    assert read.samples[0].box == (20.5, 15.25, 68.5, 51.25)
    assert all((read.pictures / sample.path).is_file() for sample in read.samples)
    assert read_dataset(arrays / "val_set").samples == read.samples
    assert [s.expression for s in read_dataset(arrays, 5).samples] == [1, 2, 0, 4]


def test_of_the_later_release_what_shows_no_emotion_is_left_out_and_counted(arrays):
    annotations = arrays / "val_set" / "annotations"
    np.save(annotations / "0_exp.npy", "8")
    np.save(annotations / "1_val.npy", "-2")
    (arrays / "val_set" / "images" / "2.jpg").unlink()
    read = read_dataset(arrays)
    assert [sample.path for sample in read.samples] == ["3.jpg"]
    assert sorted(read.left_out.values()) == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("1_val.npy", "1.5", r"sample 1: valence is 1.5, which is outside"),
        ("1_exp.npy", "11", "expression is '11'"),
        ("1_exp.npy", np.zeros(3), "holds 3 values, not one"),
        ("1_lnd.npy", np.zeros(135), "has 135 coordinates, not 136"),
        ("1_lnd.npy", np.zeros(136), "span no area"),
        ("1_lnd.npy", np.full(136, np.nan), "finite"),
        ("1_aro.npy", np.array([{}], object), "damaged or no array"),
    ],
)
def test_a_damaged_array_is_named(arrays, name, value, message):
    np.save(arrays / "val_set" / "annotations" / name, value, allow_pickle=True)
    with pytest.raises(DatasetError, match=message) as caught:
        read_dataset(arrays)
    assert "\n" not in str(caught.value)


def test_afew_va_is_read_in_parts_or_whole(afew):
    assert find_format(afew) == "afew-va"
    read = read_dataset(afew)
    assert [(s.path, s.valence, s.arousal) for s in read.samples] == [
        ("001/00000.png", 1.0, -1.0), ("001/00001.png", 0.3, 0.0), ("02/013/00000.png", -0.7, 0.5),
    ]  # fmt: skip
    assert {sample.expression for sample in read.samples} == {NO_EXPRESSION}
    assert read.samples[0].box == (10.0, 20.0, 60.0, 90.0)
    assert read.left_out == {"without a picture": 1}
    assert find_format(afew / "001") == "afew-va"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"valence": 11}, r"frame 00000: a tenth of valence is 1.1, which is outside"),
        ({"arousal": None}, "arousal is None, which is no number"),
        ({"landmarks": LANDMARKS[:67]}, "landmarks are not 68 points"),
        ({"landmarks": [[1, 2, 3]] * 68}, "a landmark is no pair"),
        ({"landmarks": [["x", 0]] * 68}, "coordinate is 'x', which is no number"),
        ({"landmarks": [[5, 5]] * 68}, "span no area"),
    ],
)
def test_a_damaged_frame_is_named(afew, change, message):
    path = afew / "001" / "001.json"
    content = json.loads(path.read_text())
    content["frames"]["00000"].update(change)
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=message):
        read_dataset(afew)


@pytest.mark.parametrize("text", ["[]", "{}", '{"frames": 5}', "[" * 100_000, "nope"])
def test_json_of_something_else_is_an_error(afew, text):
    (afew / "001" / "001.json").write_text(text)
    with pytest.raises(DatasetError, match="is damaged or not of AFEW-VA"):
        read_dataset(afew)


def test_aff_wild2_is_read_without_its_training_set(affwild):
    assert find_format(affwild) == "aff-wild2"
    read = read_dataset(affwild)
    assert [(s.path, s.valence, s.arousal) for s in read.samples] == [
        ("7-60-1920x1080/00001.jpg", 0.5, -0.25), ("7-60-1920x1080/00004.jpg", -1.0, 1.0),
    ]  # fmt: skip
    assert read.left_out == {"without valence and arousal (-5)": 1, "without a picture": 1}
    assert all((read.pictures / sample.path).is_file() for sample in read.samples)
    with pytest.raises(DatasetError, match="3 without a picture"):
        read_dataset(affwild / "annotations" / "VA_Set" / "Train_Set")


def test_a_damaged_line_is_named(affwild):
    path = affwild / "annotations/VA_Set/Validation_Set/7-60-1920x1080.txt"
    for line, message in (("0.5", "1 values, not two"), ("2,0", "outside"), ("x,0", "no number")):
        path.write_text(f"valence,arousal\n{line}\n")
        with pytest.raises(DatasetError, match=f"line 2: .*{message}"):
            read_dataset(affwild)


def test_what_is_no_data_set_says_what_is_known(tmp_path):
    with pytest.raises(DatasetError, match=r"is no data set that is known; known are: a CSV file"):
        read_dataset(tmp_path)
    for name in ("absent", "a" * 300, "a\0b"):
        with pytest.raises(DatasetError, match="no data set at"):
            read_dataset(tmp_path / name)
    assert find_format(FIELD / "tables" / "names.csv") == "table"


@pytest.mark.parametrize("layout", ["arrays", "afew", "affwild"])
def test_every_layout_becomes_a_table_that_says_the_same(request, layout, tmp_path):
    dataset = read_dataset(request.getfixturevalue(layout))
    table = tmp_path / "table.csv"
    assert write_table(dataset, table) == len(dataset)
    again = read_table(table)
    for before, after in zip(dataset.samples, again.samples, strict=True):
        assert (again.pictures / after.path).samefile(dataset.pictures / before.path)
        assert (before.expression, before.valence, before.arousal, before.box) == (
            after.expression, after.valence, after.arousal, after.box,
        )  # fmt: skip


def test_a_table_may_keep_what_passes_the_papers_cleaning_alone(arrays):
    np.save(arrays / "val_set" / "annotations" / "0_val.npy", "-0.5")  # happy, but unpleasant
    table = arrays / "clean.csv"
    assert write_table(read_dataset(arrays), table, cleaned=True) == 3
    assert "0.jpg" not in table.read_text()


def test_a_table_is_not_written_over_another_nor_where_its_paths_would_lead_up(arrays, tmp_path):
    dataset = read_dataset(arrays)
    write_table(dataset, arrays / "t.csv")
    with pytest.raises(DatasetError, match=r"t\.csv exists; name another file, or add --force"):
        write_table(dataset, arrays / "t.csv")
    assert write_table(dataset, arrays / "t.csv", force=True) == 4
    (tmp_path / "beside").mkdir()
    with pytest.raises(DatasetError, match=r"lead down from its folder; write it to .*images"):
        write_table(dataset, tmp_path / "beside" / "t.csv")


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["json", "txt", "npy"]), st.binary(max_size=300), st.integers(0, 300))
def test_damage_is_one_kind_of_error(tmp_path_factory, kind, noise, cut):
    root = tmp_path_factory.mktemp("damage")
    if kind == "json":
        path = root / "001" / "001.json"
        content = json.dumps({"frames": {"00000": {"valence": 1, "arousal": 1}}}).encode()
    elif kind == "txt":
        path, content = root / "v.txt", b"valence,arousal\n0.1,0.1\n"
    else:
        shutil.copytree(FIELD / "affectnet_arrays" / "val_set", root / "val_set")
        path = root / "val_set" / "annotations" / "0_val.npy"
        content = path.read_bytes()
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content[:cut] + noise)
    with contextlib.suppress(DatasetError):
        read_dataset(root)


def test_every_format_has_a_reader():
    assert tuple(load.DATASETS) == get_args(DatasetFormat)
