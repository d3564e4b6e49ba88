"""Rows of a run, without a cluster: what a worker answers, the frozen list, summaries."""

import json

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.batch.actor import Faces, ListedFaces, Reading
from emonet_deploy.batch.inputs import list_files
from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.batch.rows import row_schema
from emonet_deploy.batch.run import Cluster, count_rows, run_settings, worker_count
from emonet_deploy.batch.summary import summary_rows
from emonet_deploy.cli import app
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.registry import load_session


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five pictures, a clip, a damaged picture; and a model."""
    folder = tmp_path_factory.mktemp("batch")
    (folder / "in").mkdir()
    write_tiny(folder / "tiny.onnx", seed=3)
    clip = cv2.VideoWriter(
        str(folder / "in" / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (96, 96)
    )
    for i in range(5):
        picture = cv2.applyColorMap(
            cv2.resize(cv2.getGaussianKernel(96, 10 + 9 * i) * 4000, (96, 96)).astype("uint8"), i
        )
        cv2.imwrite(str(folder / "in" / f"p{i}.png"), picture)
        clip.write(picture)
    clip.release()
    whole = (folder / "in" / "p0.png").read_bytes()
    (folder / "in" / "bad.png").write_bytes(whole[: len(whole) // 2])
    return folder


def reading(folder, **options):
    return Reading(str(folder / "tiny.onnx"), "onnx", "cpu", detector="none", **options)


def read_all(folder, files, **options):
    with Faces(reading(folder, **options)) as faces:
        return faces(pa.table({"file": files}))


def test_rows_are_what_predict_says_of_the_same_files(folder):
    files = list_files([str(folder / "in")], None, print)
    rows = read_all(folder, files, landmarks=True).to_pylist()
    found = CliRunner().invoke(
        app,
        ["predict", str(folder / "in"), "--model", str(folder / "tiny.onnx"), "--device", "cpu",
         "--detector", "none", "--landmarks", "--json", str(folder / "said.json")],
    )  # fmt: skip
    assert found.exit_code == 1  # bad.png
    said = json.loads((folder / "said.json").read_text())
    mine = []
    for row in rows:
        for face in row["faces"]:
            face["probabilities"] = dict(face["probabilities"])
            mine.append({"file": row["file"], **face})
    order = lambda face: (face["file"], face["frame"])  # noqa: E731
    assert sorted(mine, key=order) == sorted(said, key=order)
    assert len(mine) == 10


def test_what_cannot_be_read_is_a_row_with_the_reason(folder):
    files = [str(folder / "in" / name) for name in ("p1.png", "bad.png", "gone.png", "clip.avi")]
    table = read_all(folder, files)
    assert table.schema == row_schema()
    rows = table.to_pylist()
    assert [row["file"] for row in rows] == files
    assert [row["frames"] for row in rows] == [1, 0, 0, 5]
    assert [row["error"] is None for row in rows] == [True, False, False, True]
    assert "damaged" in rows[1]["error"]
    assert "does not exist" in rows[2]["error"]


def test_an_id_means_the_same_file_after_files_were_added(folder, tmp_path):
    files = list_files([str(folder / "in")], None, print)
    out = RunFolder.of(str(tmp_path / "out"))
    assert out.freeze(files, {"model": "a"}) == 7
    assert out.freeze(["/another", *files], {"model": "a"}) == 7
    with ListedFaces(reading(folder), out) as faces:
        rows = faces(pa.table({"id": [5, 2]})).to_pylist()
    assert [(row["id"], row["file"]) for row in rows] == [(5, files[5]), (2, files[2])]


def test_another_model_or_other_options_are_refused(folder, tmp_path):
    with load_session(folder / "tiny.onnx", device="cpu") as session:
        info = session.info
    out = RunFolder.of(str(tmp_path / "out"))
    out.freeze(["/a.png"], run_settings(reading(folder), info))
    # How fast rows are made is nothing that decides over them.
    out.freeze(["/a.png"], run_settings(reading(folder, threads=2, batch=4), info))
    with pytest.raises(InputError, match="another crop"):
        out.freeze(["/a.png"], run_settings(reading(folder, crop="stretch"), info))
    other = Reading(str(write_tiny(tmp_path / "b.onnx", seed=4)), "onnx", "cpu", detector="none")
    with pytest.raises(InputError, match="another model"):
        out.freeze(["/a.png"], run_settings(other, info))


@pytest.mark.parametrize(
    ("cpus", "cluster", "workers"),
    [(3, Cluster(), 2), (9, Cluster(cpus=4), 2), (8, Cluster(workers=7), 7)],
)
def test_workers_leave_a_cpu_to_ray(cpus, cluster, workers):
    assert worker_count(cpus, cluster) == workers


@pytest.mark.parametrize("cluster", [Cluster(workers=2), Cluster(cpus=2), Cluster(workers=3)])
def test_workers_on_all_cpus_are_refused_and_not_waited_for(cluster):
    with pytest.raises(InputError, match="lower --workers"):
        worker_count(2, cluster)


def test_a_list_may_be_a_table_and_a_file_is_listed_once(folder, tmp_path):
    names = [str(folder / "in" / "p1.png"), str(folder / "in" / "p0.png")]
    pq.write_table(pa.table({"file": [*names, *names]}), tmp_path / "list.parquet")
    (tmp_path / "list.csv").write_text("file,note\n" + "".join(f"{name},x\n" for name in names))
    for table in ("list.parquet", "list.csv"):
        assert list_files([], tmp_path / table, print) == names
    (tmp_path / "other.csv").write_text("name\na.png\n")
    with pytest.raises(InputError, match="no column `file`"):
        list_files([], tmp_path / "other.csv", print)


def written(tmp_path, rows):
    out = RunFolder.of(str(tmp_path / "run"))
    out.freeze([row["file"] for row in rows], {})
    (tmp_path / "run" / "rows").mkdir()
    pq.write_table(
        pa.Table.from_pylist(rows, schema=row_schema()), tmp_path / "run" / "rows" / "a.parquet"
    )
    return str(tmp_path / "run")


def face(frame, identity, expression, valence, time=None):
    return {
        "frame": frame, "time": time, "face": identity, "box": [0, 0, 1, 1], "score": 1.0,
        "expression": expression, "probabilities": [(expression, 1.0)], "valence": valence,
        "arousal": 0.5,
    }  # fmt: skip


def clip_rows():
    seen = [
        face(0, 0, "happy", 0.5, 0.0), face(0, 1, "sad", -0.5, 0.0),
        face(1, 0, "sad", 0.0, 3700.0), face(1, 1, "sad", -0.25, 3700.0),
    ]  # fmt: skip
    clip = {"id": 0, "file": "/d/a.mp4", "frames": 2, "error": None, "faces": seen}
    return [clip, {"id": 1, "file": "/d/b.jpg", "frames": 0, "error": "gone", "faces": []}]


def test_summaries_are_means_shares_and_changes_of_each_group(tmp_path):
    out = written(tmp_path, clip_rows())
    one, two = summary_rows(out, "person")
    assert (one.group, one.faces, one.valence, one.arousal) == ("/d/a.mp4 #0", 2, 0.25, 0.5)
    assert one.shares == {"happy": 0.5, "sad": 0.5}
    assert one.transitions == {"happy > sad": 1}
    assert (two.valence, two.changes, two.expression) == (-0.375, 0, "sad")
    assert [(row.group, row.faces) for row in summary_rows(out, "folder")] == [("/d", 4)]
    assert [row.group for row in summary_rows(out, "hour")] == ["/d/a.mp4 h0", "/d/a.mp4 h1"]


def test_a_run_is_counted_with_its_reasons(tmp_path):
    found = count_rows(written(tmp_path, clip_rows()))
    assert (found.files, found.rows, found.faces, found.unreadable) == (2, 2, 4, 1)
    assert found.reasons == (("/d/b.jpg", "gone"),)


def test_the_readers_of_the_page_get_the_same_mean(tmp_path):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    duckdb = pytest.importorskip("duckdb")
    rows = written(tmp_path, clip_rows()) + "/rows"
    table = pandas.read_parquet(rows, columns=["file", "faces"]).explode("faces")["faces"].dropna()
    assert pandas.json_normalize(table.tolist())["valence"].mean() == -0.0625
    lazy = polars.scan_parquet(rows + "/*.parquet").select("file", "faces").explode("faces")
    mean = lazy.unnest("faces").select(polars.col("valence").mean()).collect().item()
    assert mean == -0.0625
    query = f"SELECT avg(f.valence) FROM (SELECT unnest(faces) AS f FROM '{rows}/*.parquet')"
    assert duckdb.sql(query).fetchall() == [(-0.0625,)]
