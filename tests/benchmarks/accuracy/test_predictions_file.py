import contextlib
import csv
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_deploy.benchmarks.accuracy.predictions_file import COLUMNS, PredictionFile
from emonet_deploy.benchmarks.datasets.base import Dataset, Sample
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.errors import InputError

SETTINGS = {"artifact": "abc", "flip": True}


@pytest.fixture
def dataset(tmp_path):
    names = ("a.png", 'comma, quote".png', "line\nbreak.png", "ü.png")
    samples = (Sample(name, i, 0.1 * i, -0.1 * i, None) for i, name in enumerate(names))
    return Dataset("faces", tmp_path, 8, tuple(samples))


def write(path, dataset, rows, settings=SETTINGS):
    with PredictionFile(path, dataset, settings) as file:
        for number, *values in rows:
            file.append([number], np.array([values]))


ROWS = [(0, 3, 0.1 + 0.2, -1.0), (2, 7, 1 / 3, 5e-324), (1, 0, 0.0, 1.0)]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_come_back_bit_by_bit(tmp_path, dataset, ending):
    path = tmp_path / f"out.{ending}"
    write(path, dataset, ROWS)
    again = PredictionFile(path, dataset, SETTINGS)
    found = {int(n): tuple(v) for n, v in zip(again.numbers, again.values, strict=True)}
    assert found == {n: tuple(map(float, values)) for n, *values in ROWS}


def test_a_table_has_truth_beside_prediction(tmp_path, dataset):
    write(tmp_path / "out.csv", dataset, ROWS)
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert rows[1]["path"] == "line\nbreak.png"
    assert (rows[1]["expression_true"], rows[1]["expression"]) == ("2", "7")
    assert (float(rows[1]["valence_true"]), float(rows[1]["valence"])) == (0.2, 1 / 3)


def test_a_parquet_table_has_types_and_is_sorted(tmp_path, dataset):
    from pyarrow import parquet

    write(tmp_path / "out.parquet", dataset, ROWS)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == list(COLUMNS)
    assert table["sample"].to_pylist() == [0, 1, 2]
    assert [str(table.schema.field(name).type) for name in ("path", "expression", "valence")] == [
        "string", "int64", "double",
    ]  # fmt: skip
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_an_unknown_class_is_left_empty(tmp_path):
    dataset = Dataset("x", tmp_path, 8, (Sample("a.png", NO_EXPRESSION, 0.0, 0.0, None),))
    for ending in ("csv", "parquet"):
        write(tmp_path / f"out.{ending}", dataset, [(0, 3, 0.5, 0.5)])
        assert PredictionFile(tmp_path / f"out.{ending}", dataset, SETTINGS).numbers == [0]
    assert ",,3," in (tmp_path / "out.csv").read_text()


@given(cut=st.integers(0, 400))
def test_a_file_cut_anywhere_loses_no_whole_row_and_gains_none(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    samples = tuple(Sample(f"{i}.png", i, 0.0, 0.0, None) for i in range(6))
    dataset = Dataset("x", folder, 8, samples)
    rows = [(i, i, i / 7, -i / 7) for i in range(6)]
    write(folder / "out.csv", dataset, rows)
    whole = (folder / "out.csv").read_bytes()
    header = whole.index(b"\n") + 1
    cut = header + cut % (len(whole) - header + 1)
    (folder / "out.csv").write_bytes(whole[:cut])
    again = PredictionFile(folder / "out.csv", dataset, SETTINGS)
    assert again.numbers.tolist() == list(range(whole[header:cut].count(b"\n")))
    with again as file:
        for number, *values in rows[len(again.numbers) :]:
            file.append([number], np.array([values]))
    assert (folder / "out.csv").read_bytes() == whole


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_other_settings_are_refused_by_name(tmp_path, dataset, ending):
    path = tmp_path / f"out.{ending}"
    write(path, dataset, ROWS)
    before = path.read_bytes()
    with pytest.raises(InputError, match="with another artifact, flip; name"):
        PredictionFile(path, dataset, {"artifact": "other"})
    with pytest.raises(InputError, match="with another dataset; name"):
        PredictionFile(path, dataset.first(3), SETTINGS)
    assert path.read_bytes() == before


def test_a_file_of_someone_else_is_never_touched(tmp_path, dataset):
    (tmp_path / "mine.csv").write_text("precious")
    with pytest.raises(InputError, match="without the record"):
        PredictionFile(tmp_path / "mine.csv", dataset, SETTINGS)
    assert (tmp_path / "mine.csv").read_text() == "precious"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + text.splitlines()[1] + "\n",
        lambda text: text.replace("a.png", "b.png"),
        lambda text: text.replace("\n0,", "\n9,"),
        lambda text: text.replace("\n0,", "\n-4,"),
        lambda text: text.replace("-1.0", "nan"),
        lambda text: text.replace("-1.0", "x"),
        lambda text: text.replace("-1.0", "-1.0,3"),
        lambda text: text.replace("-1.0", "-5.5"),
        lambda text: text.replace(",3,", ",99,"),
        lambda text: text.replace(",3,", ",3.5,"),
        lambda text: text.replace(",3,", ",-1,"),
        lambda text: text.replace(",3,", ",8,"),
        lambda text: text.replace(",3,", ',"0"3,'),
        lambda text: text.replace("-1.0", "-1.0000001"),
        lambda text: text.replace("\n0,", "\n" + "9" * 30 + ","),
        lambda text: text.replace("\n0,", "\n" + "9" * 5000 + ","),
        lambda text: "sample,path\n",
    ],
)
def test_a_damaged_file_is_not_continued(tmp_path, dataset, change):
    path = tmp_path / "out.csv"
    write(path, dataset, ROWS)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match="is damaged"):
        PredictionFile(path, dataset, SETTINGS)


def test_other_endings_are_refused(tmp_path, dataset):
    with pytest.raises(InputError, match=r"\.csv or \.parquet"):
        PredictionFile(tmp_path / "out.xlsx", dataset, SETTINGS)


@pytest.mark.parametrize(
    "record", ["[]", "null", "5", '"x"', "[" * 100_000, '{"a": NaN}', "\xff", "{"], ids=range(8)
)
def test_a_damaged_record_of_the_settings_is_one_line(tmp_path, dataset, record):
    write(tmp_path / "out.csv", dataset, ROWS)
    (tmp_path / "out.csv.json").write_text(record, encoding="latin-1")
    with pytest.raises(InputError, match="without the record") as caught:
        PredictionFile(tmp_path / "out.csv", dataset, SETTINGS)
    assert "\n" not in str(caught.value)


def test_settings_of_others_cannot_forge_a_line(tmp_path, dataset):
    path = tmp_path / "out.csv"
    write(path, dataset, ROWS, {**SETTINGS, "x\nerror: forged": 1, **dict.fromkeys("abcdefgh", 0)})
    with pytest.raises(InputError, match="made with another") as caught:
        PredictionFile(path, dataset, SETTINGS)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_only_one_run_at_a_time_writes_a_file(tmp_path, dataset, ending):
    path = tmp_path / f"out.{ending}"
    with PredictionFile(path, dataset, SETTINGS) as first:
        first.append([0], np.array([[1, 0.5, 0.5]]))
        for spelled in (path, tmp_path / "x" / ".." / path.name):
            (tmp_path / "x").mkdir(exist_ok=True)
            with pytest.raises(InputError, match="another process is writing"):
                PredictionFile(spelled, dataset, SETTINGS)
    waiting = PredictionFile(path, dataset, SETTINGS)
    write(path, dataset, [(3, 2, 0.5, 0.5)])
    with waiting:
        assert sorted(waiting.numbers.tolist()) == [0, 3]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_the_lock_of_a_killed_run_ends_with_it(tmp_path, dataset):
    path = tmp_path / "out.csv"
    script = (
        "import sys\n"
        "from emonet_deploy.emonet_ref.storage.atomic_write import exclusive\n"
        f"with exclusive({str(path)!r}):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(InputError, match="another process is writing"):
        PredictionFile(path, dataset, SETTINGS)
    process.kill()
    process.communicate()
    write(path, dataset, ROWS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "out.csv.json"]


def test_what_cannot_be_written_is_told_at_once(tmp_path, dataset):
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    for name in ("file/out.csv", "folder.csv", "a" * 300 + ".csv", "a\0.csv"):
        with pytest.raises(InputError, match="cannot write"):
            PredictionFile(tmp_path / name, dataset, SETTINGS)


def test_a_parquet_file_of_something_else_is_damaged(tmp_path, dataset):
    path = tmp_path / "out.parquet"
    write(path, dataset, ROWS)
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[: len(whole) // 2], whole[:-8] + bytes(8)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is damaged"):
            PredictionFile(path, dataset, SETTINGS)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.sampled_from(["csv", "csv.json"]))
def test_damage_is_one_kind_of_error_or_no_harm(tmp_path_factory, noise, cut, ending):
    folder = tmp_path_factory.mktemp("noise")
    dataset = Dataset("x", folder, 8, tuple(Sample(f"{i}.png", i, 0, 0, None) for i in range(4)))
    write(folder / "out.csv", dataset, [(i, i, 0.5, -0.5) for i in range(4)])
    path = folder / f"out.{ending}"
    path.write_bytes(path.read_bytes()[:cut] + noise)
    with contextlib.suppress(InputError):
        found = PredictionFile(folder / "out.csv", dataset, SETTINGS)
        assert np.abs(found.values[:, 1:]).max(initial=0) <= 1
