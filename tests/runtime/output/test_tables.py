import csv
import json

import numpy as np
import pytest

from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.detection.fixed import KnownBoxes
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.output.tables import (
    face_rows,
    write_csv_rows,
    write_json_rows,
    write_jsonl_rows,
    write_parquet_rows,
)
from emonet_deploy.runtime.pipeline.pipeline import FaceResult, FrameResult
from emonet_deploy.runtime.pipeline.predictor import Prediction

CLASSES = CLASS_NAMES[8]


def results():
    rng = np.random.default_rng(0)
    image = np.zeros((9, 9, 3), np.uint8)
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


def write(writer):
    with writer as append:
        for row in rows():
            append(row)


def test_json_and_jsonl_hold_the_rows(tmp_path):
    write(write_json_rows(tmp_path / "r.json"))
    write(write_jsonl_rows(tmp_path / "r.jsonl"))
    assert json.loads((tmp_path / "r.json").read_text()) == rows()
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows()


def test_csv_and_parquet_hold_the_same_table(tmp_path):
    import pyarrow.parquet

    write(write_csv_rows(tmp_path / "r.csv", CLASSES, landmarks=True))
    write(write_parquet_rows(tmp_path / "r.parquet", CLASSES, landmarks=True))
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
    write(write_csv_rows(tmp_path / "r.csv", CLASSES))
    known = KnownBoxes(tmp_path / "r.csv")
    for result in results():
        assert [f.box for f in known.detect(result.frame)] == [f.box for f in result.faces]


@pytest.mark.parametrize(
    ("name", "writer"),
    [
        ("r.json", write_json_rows),
        ("r.jsonl", write_jsonl_rows),
        ("r.csv", lambda path: write_csv_rows(path, CLASSES)),
        ("r.parquet", lambda path: write_parquet_rows(path, CLASSES)),
    ],
)
class TestEveryWriter:
    def test_without_rows_the_file_is_valid(self, tmp_path, name, writer):
        with writer(tmp_path / name):
            pass
        assert (tmp_path / name).stat().st_size or name == "r.jsonl"
        if name == "r.json":
            assert json.loads((tmp_path / name).read_text()) == []

    def test_a_failed_run_leaves_nothing(self, tmp_path, name, writer):
        def run():
            with writer(tmp_path / name) as append:
                append(rows()[1] | {"landmarks": None})
                raise RuntimeError

        with pytest.raises(RuntimeError):
            run()
        assert list(tmp_path.iterdir()) == []

    def test_a_place_that_cannot_be_written_is_one_line(self, tmp_path, name, writer):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="cannot write"), writer(tmp_path / "file" / name):
            pass
