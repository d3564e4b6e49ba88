"""Rows of a run, without a cluster: what a worker answers, the frozen list, summaries."""

import getpass
import json
import os
import sys
import threading
from dataclasses import fields, replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.batch_runs import clip_rows, written
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.batch.actor import Faces, ListedFaces, Reading
from emonet_deploy.batch.files.inputs import list_files
from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.batch.outcome import count_rows
from emonet_deploy.batch.progress import watched
from emonet_deploy.batch.rows import row_schema
from emonet_deploy.batch.run import run_settings
from emonet_deploy.batch.summary import summary_rows
from emonet_deploy.cli import app
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.registry import load_session


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


def test_what_fsspec_knows_is_read_and_written(folder):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("p1.png", "bad.png", "clip.avi"):
        memory.pipe(f"/lake/in/{name}", (folder / "in" / name).read_bytes())
    files = list_files(["memory://lake/in", "memory://lake/gone.png"], None, print)
    assert files == [
        *(f"memory://lake/in/{name}" for name in ("bad.png", "clip.avi", "p1.png")),
        "memory://lake/gone.png",
    ]
    out = RunFolder.of("memory://lake/out")
    assert out.freeze(files, {"model": "a"}) == RunFolder.of("memory://lake/out").freeze(
        [], {"model": "a"}
    )
    assert [out.listed()[i].file for i in range(len(files))] == files
    rows = read_all(folder, files).to_pylist()
    assert [row["frames"] for row in rows] == [0, 5, 1, 0]
    assert [row["error"] is None for row in rows] == [False, True, True, False]
    out.finish()
    assert out.complete
    with pytest.raises(InputError, match="cannot reach nowhere://x"):
        list_files(["nowhere://x"], None, print)


def test_an_id_means_the_same_file_after_files_were_added(folder, tmp_path):
    files = list_files([str(folder / "in")], None, print)
    out = RunFolder.of(str(tmp_path / "out"))
    settings = run_settings(reading(folder), info_of(folder / "tiny.onnx"))
    assert out.freeze(files, settings) == 7
    assert out.freeze(["/another", *files], settings) == 7
    with ListedFaces(reading(folder), out) as faces:
        rows = faces(pa.table({"id": [5, 2]})).to_pylist()
    assert [(row["id"], row["file"]) for row in rows] == [(5, files[5]), (2, files[2])]


@pytest.fixture(params=["file", "folder"])
def forbidden(request, folder, tmp_path):
    """A picture that may not be read, or not be reached; root becomes somebody else meanwhile."""
    closed = tmp_path / "closed"
    closed.mkdir()
    picture = closed / "p.png"
    picture.write_bytes((folder / "in" / "p1.png").read_bytes())
    shut = picture if request.param == "file" else closed
    for path in (tmp_path, *tmp_path.parents, folder, folder / "in"):
        if str(path).startswith("/tmp/") and path.owner() == getpass.getuser():
            path.chmod(0o755)
    shut.chmod(0)
    was_root = os.geteuid() == 0
    with Faces(reading(folder)) as faces:
        if was_root:
            os.seteuid(65534)
        yield faces, picture
        if was_root:
            os.seteuid(0)
    shut.chmod(0o700)


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions there")
def test_what_may_not_be_read_is_a_row_with_the_reason(forbidden, folder):
    faces, picture = forbidden
    good = str(folder / "in" / "p1.png")
    rows = faces.read([0, 1], [str(picture), good]).to_pylist()
    assert "ermission denied" in rows[0]["error"]
    assert (rows[1]["error"], rows[1]["frames"]) == (None, 1)


def test_a_name_that_looks_like_a_pattern_is_a_name(folder, tmp_path):
    (row,) = read_all(folder, [str(folder / "in" / "p?.png")]).to_pylist()
    assert "does not exist" in row["error"]
    strange = tmp_path / "p?[1].png"
    strange.write_bytes((folder / "in" / "p1.png").read_bytes())
    (row,) = read_all(folder, [str(strange)]).to_pylist()
    assert (row["error"], row["frames"]) == (None, 1)


def info_of(model):
    with load_session(model, device="cpu") as session:
        return session.info


CHANGES = {
    "model": "b.onnx", "backend": "openvino", "detector": "centerface", "detector_model": "y.onnx",
    "detect_size": 320, "min_score": 0.5, "crop": "stretch", "smooth": "none", "memory": 1.0,
    "every": 2, "fps": 5.0, "landmarks": True,
}  # fmt: skip
# How fast rows are made is nothing that decides over them.
FREE = {"threads": 2, "batch": 4, "device": "cuda"}


@pytest.mark.parametrize("name", CHANGES)
def test_another_model_or_another_option_is_refused(folder, tmp_path, name):
    write_tiny(tmp_path / "b.onnx", seed=4)
    (tmp_path / "y.onnx").write_bytes(b"a detector")
    info = info_of(folder / "tiny.onnx")
    out = RunFolder.of(str(tmp_path / "out"))
    out.freeze(["/a.png"], run_settings(reading(folder), info))
    value = CHANGES[name]
    other = replace(
        reading(folder), **{name: str(tmp_path / value) if str(value).endswith(".onnx") else value}
    )
    with pytest.raises(InputError, match=f"holds a run with another {name}$|another {name};"):
        out.freeze([], run_settings(other, info))


def test_where_and_how_fast_a_run_goes_on_is_free(folder, tmp_path):
    info = info_of(folder / "tiny.onnx")
    out = RunFolder.of(str(tmp_path / "out"))
    out.freeze(["/a.png"], run_settings(reading(folder), info))
    assert out.freeze([], run_settings(replace(reading(folder), **FREE), info)) == 1
    assert {field.name for field in fields(Reading)} == {*CHANGES, *FREE}


def test_a_detector_file_of_another_content_is_another_detector(folder, tmp_path):
    info, yunet = info_of(folder / "tiny.onnx"), tmp_path / "y.onnx"
    settings = []
    for content in (b"one", b"two"):
        yunet.write_bytes(content)
        settings.append(run_settings(reading(folder, detector_model=str(yunet)), info))
    assert settings[0]["detector_model"] != settings[1]["detector_model"]


def test_a_worker_with_another_file_under_the_models_name_refuses(folder, tmp_path):
    model = write_tiny(tmp_path / "m.onnx", seed=3)
    here = Reading(str(model), "onnx", "cpu", detector="none")
    out = RunFolder.of(str(tmp_path / "out"))
    out.freeze(["/a.png"], run_settings(here, info_of(model)))
    write_tiny(model, seed=4)
    with pytest.raises(InputError, match="is not the model of this run"):
        ListedFaces(here, out)


def test_a_run_that_goes_on_lists_nothing_again(folder, tmp_path):
    arguments = [
        "batch", "--model", str(folder / "tiny.onnx"), "--engine", "onnx", "--device", "cpu",
        "--detector", "none", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    model = folder / "tiny.onnx"
    out = RunFolder.of(str(tmp_path / "out"))
    files = [str(folder / "in" / "p1.png"), str(folder / "in" / "gone.png")]
    out.freeze(files, run_settings(reading(folder), info_of(model)))
    rows = read_all(folder, files)
    (tmp_path / "out" / "rows").mkdir()
    pq.write_table(rows, tmp_path / "out" / "rows" / "a.parquet")
    out.finish()
    # A list that is not there shows that nobody looks for it.
    found = CliRunner().invoke(app, [*arguments, "--list", str(tmp_path / "none.txt")])
    assert "going on with that" in found.stderr
    assert found.stdout == f"2 of 2 files, 1 faces, in {tmp_path / 'out'}\n"
    assert found.exit_code == 1
    assert "gone.png does not exist" in found.stderr
    found = CliRunner().invoke(app, [*arguments, "--crop", "stretch"])
    assert found.exit_code == 1
    assert "another crop" in found.stderr


def test_progress_is_what_the_checkpoint_says(tmp_path):
    out = RunFolder.of(str(tmp_path / "out"))
    seen = []
    told = threading.Event()

    def tell(done, total):
        seen.append((done, total))
        if done == 3:
            told.set()

    with watched(out, 9, tell):
        (tmp_path / "out" / "_checkpoint").mkdir(parents=True)
        for name, ids in (("a", [1, 2]), ("b.pending", [3]), ("c", [7])):
            pq.write_table(pa.table({"id": ids}), tmp_path / f"{name}.parquet")
            path = tmp_path / "out" / "_checkpoint" / f"{name}.parquet"
            (tmp_path / f"{name}.parquet").rename(path)
        assert told.wait(60)
    assert seen[-1] == (3, 9)


def test_a_list_may_be_a_table_and_a_file_is_listed_once(folder, tmp_path):
    names = [str(folder / "in" / "p1.png"), str(folder / "in" / "p0.png")]
    pq.write_table(pa.table({"file": [*names, *names]}), tmp_path / "list.parquet")
    (tmp_path / "list.csv").write_text("file,note\n" + "".join(f"{name},x\n" for name in names))
    for table in ("list.parquet", "list.csv"):
        assert list_files([], tmp_path / table, print) == names
    (tmp_path / "other.csv").write_text("name\na.png\n")
    with pytest.raises(InputError, match="no column `file`"):
        list_files([], tmp_path / "other.csv", print)


def test_of_a_run_that_was_killed_only_what_is_there_for_good_is_read(tmp_path):
    out = written(tmp_path, clip_rows())
    (tmp_path / "run" / "_SUCCESS").unlink()
    (tmp_path / "run" / "rows" / "b-0.parquet").write_bytes(b"PAR1")  # it was writing that
    assert count_rows(out).rows == 0
    (tmp_path / "run" / "_checkpoint").mkdir()
    pq.write_table(pa.table({"id": [0, 1]}), tmp_path / "run" / "_checkpoint" / "a.parquet")
    assert (count_rows(out).files, count_rows(out).rows) == (2, 2)
    assert [row.faces for row in summary_rows(out, "clip")] == [4]
    for path in ("_run.json", "_list.parquet"):
        (tmp_path / "run" / path).unlink()
    found = CliRunner().invoke(app, ["summarize", out])
    assert (found.exit_code, found.stderr.splitlines()[0]) == (1, f"error: {out} holds no run")


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
