import csv
import json

import numpy as np
import pytest

from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.detection.without_search import KnownBoxes
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.output.copies import CopiesSink
from emonet_deploy.runtime.output.sinks import (
    CsvSink,
    JsonLinesSink,
    JsonSink,
    ParquetSink,
    face_rows,
    face_values,
)
from emonet_deploy.runtime.output.timeline import TimelineSink
from emonet_deploy.runtime.pipeline.pipeline import FaceResult, FrameResult
from emonet_deploy.runtime.pipeline.predictor import Prediction

CLASSES = CLASS_NAMES[8]


def results():
    rng = np.random.default_rng(0)
    image = np.zeros((60, 50, 3), np.uint8)
    for index in range(5):
        faces = []
        for identity in range(index % 3):
            p = rng.dirichlet(np.ones(8))
            points = rng.uniform(0, 99, (68, 3)).astype(np.float32)
            said = Prediction(
                CLASSES[int(p.argmax())], dict(zip(CLASSES, p.tolist(), strict=True)),
                *rng.uniform(-1, 1, 2).tolist(), points,
            )  # fmt: skip
            box = (1.5, 2.25, 30.0 + index, 40.0)
            faces.append(FaceResult(identity, box, 0.75, said))
        yield FrameResult(Frame(image, "dir/clip, 1.mp4", index, index / 25, 25.0), tuple(faces))


def rows():
    return [row for result in results() for row in face_rows(result, landmarks=True)]


def test_every_frame_has_a_row_and_every_face_too():
    assert [(row["frame"], row["face"]) for row in rows()] == [
        (0, None), (1, 0), (2, 0), (2, 1), (3, None), (4, 0),
    ]  # fmt: skip
    row = rows()[1]
    assert row["box"] == [1.5, 2.25, 31.0, 40.0]
    assert row["time"] == 0.04
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert np.shape(row["landmarks"]) == (68, 3)
    assert "landmarks" not in next(face_rows(next(results())))


def test_figures_are_rounded_to_what_they_can_tell():
    said = Prediction("happy", {"happy": 2 / 3}, 1 / 3, -1 / 3, np.full((68, 3), 1 / 3, np.float32))
    face = FaceResult(0, (1 / 3, 2 / 3, 100 / 3, 200 / 3), 2 / 3, said)
    values = face_values(face)
    assert values["box"] == [0.33, 0.67, 33.33, 66.67]
    assert (values["score"], values["probabilities"]) == (0.6667, {"happy": 0.666667})
    assert (values["valence"], values["arousal"]) == (0.333333, -0.333333)
    assert values["landmarks"][0] == [0.33, 0.33, 0.33]


def write(sink):
    with sink:
        for result in results():
            sink.append(result)


def test_json_and_jsonl_hold_the_rows(tmp_path):
    write(JsonSink(tmp_path / "r.json", landmarks=True))
    write(JsonLinesSink(tmp_path / "r.jsonl", landmarks=True))
    assert json.loads((tmp_path / "r.json").read_text()) == rows()
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows()


def test_csv_and_parquet_hold_the_same_table(tmp_path):
    import pyarrow.parquet

    write(CsvSink(tmp_path / "r.csv", CLASSES, landmarks=True))
    write(ParquetSink(tmp_path / "r.parquet", CLASSES, landmarks=True))
    with open(tmp_path / "r.csv", newline="") as file:
        as_csv = list(csv.DictReader(file))
    as_parquet = pyarrow.parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert len(as_csv) == len(as_parquet) == len(rows())
    for flat, typed, row in zip(as_csv, as_parquet, rows(), strict=True):
        assert list(flat) == list(typed)
        for name, value in typed.items():
            assert flat[name] == ("" if value is None else str(value))
        if row["face"] is not None:
            assert typed["face"] == row["face"]
            assert [typed[side] for side in ("x0", "y0", "x1", "y1")] == row["box"]
            assert typed["p_surprise"] == row["probabilities"]["surprise"]
            assert [typed["x_67"], typed["y_67"], typed["s_67"]] == row["landmarks"][67]


def test_the_csv_is_a_file_of_known_boxes(tmp_path):
    write(CsvSink(tmp_path / "r.csv", CLASSES))
    known = KnownBoxes(tmp_path / "r.csv")
    for result in results():
        assert [f.box for f in known.detect(result.frame)] == [f.box for f in result.faces]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("r.json", JsonSink),
        ("r.jsonl", JsonLinesSink),
        ("r.csv", lambda path: CsvSink(path, CLASSES)),
        ("r.parquet", lambda path: ParquetSink(path, CLASSES)),
        ("r.mp4", lambda path: CopiesSink({"dir/clip, 1.mp4": path})),
        ("r.svg", TimelineSink),
    ],
)
class TestEverySink:
    def test_without_rows_the_file_is_valid(self, tmp_path, name, make):
        with make(tmp_path / name):
            pass
        if name == "r.mp4":  # a copy of what was never seen
            assert list(tmp_path.iterdir()) == []
            return
        assert (tmp_path / name).stat().st_size or name == "r.jsonl"
        if name == "r.json":
            assert json.loads((tmp_path / name).read_text()) == []

    def test_a_failed_run_leaves_nothing(self, tmp_path, name, make):
        def run():
            with make(tmp_path / name) as sink:
                for result in results():
                    sink.append(result)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            run()
        assert list(tmp_path.iterdir()) == []

    def test_a_place_that_cannot_be_written_is_one_line(self, tmp_path, name, make):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="cannot write"):
            write(make(tmp_path / "file" / name))

    def test_a_failure_at_the_end_leaves_nothing(self, tmp_path, monkeypatch, name, make):
        sink = make(tmp_path / name)

        def fail():
            raise RuntimeError

        monkeypatch.setattr(sink, "_finish", fail)
        with pytest.raises(RuntimeError):
            write(sink)
        assert list(tmp_path.iterdir()) == []


def test_landmarks_are_in_a_file_only_where_they_were_asked_for(tmp_path):
    import pyarrow.parquet

    write(JsonSink(tmp_path / "r.json"))
    write(JsonLinesSink(tmp_path / "r.jsonl"))
    write(CsvSink(tmp_path / "r.csv", CLASSES))
    write(ParquetSink(tmp_path / "r.parquet", CLASSES))
    assert all("landmarks" not in row for row in json.loads((tmp_path / "r.json").read_text()))
    assert "landmarks" not in (tmp_path / "r.jsonl").read_text()
    columns = (tmp_path / "r.csv").read_text().splitlines()[0].split(",")
    assert pyarrow.parquet.read_table(tmp_path / "r.parquet").column_names == columns
    assert columns[-1] == f"p_{CLASSES[-1]}"


def test_names_are_written_as_they_are_and_what_is_no_number_not_at_all(tmp_path):
    image = np.zeros((9, 9, 3), np.uint8)
    with JsonLinesSink(tmp_path / "r.jsonl") as sink:
        sink.append(FrameResult(Frame(image, "größe 顔.png"), ()))
    assert '"größe 顔.png"' in (tmp_path / "r.jsonl").read_text(encoding="utf-8")
    said = Prediction("happy", {"happy": 1.0}, np.nan, 0.0, np.zeros((68, 3), np.float32))
    result = FrameResult(Frame(image, "x"), (FaceResult(0, (1, 1, 5, 5), 0.9, said),))
    # Other programs read no NaN.
    with pytest.raises(ValueError, match="JSON"), JsonSink(tmp_path / "r.json") as sink:
        sink.append(result)
    assert not (tmp_path / "r.json").exists()


def test_a_table_of_many_rows_keeps_them_all_in_order(tmp_path):
    import pyarrow.parquet

    image = np.zeros((9, 9, 3), np.uint8)
    with ParquetSink(tmp_path / "r.parquet", CLASSES) as sink:
        for index in range(5000):
            sink.append(FrameResult(Frame(image, "x", index, index / 25, 25.0), ()))
    table = pyarrow.parquet.read_table(tmp_path / "r.parquet")
    assert table["frame"].to_pylist() == list(range(5000))
