import csv

import numpy as np
import pytest
from hypothesis import given
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
