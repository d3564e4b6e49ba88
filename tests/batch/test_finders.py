"""Finding and reading in two stages: the rows are those of workers that do both."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from emonet_deploy.batch import finders
from emonet_deploy.batch.actor import ListedFaces, Reading
from emonet_deploy.batch.files.inputs import list_files
from emonet_deploy.batch.finders import FaceFinder, FoundFaces
from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.batch.run import run_settings
from emonet_deploy.cli import app
from emonet_deploy.runtime.backends.registry import load_session


@pytest.fixture(scope="module")
def portraits(folder, tmp_path_factory):
    """Pictures of one face and of several, of none, of four pixels, and of no kind at all."""
    portraits = tmp_path_factory.mktemp("portraits")
    astronaut = Image.fromarray(data.astronaut())
    astronaut.save(portraits / "one.jpg")
    several = Image.new("RGB", (1536, 512))
    for i in range(3):
        several.paste(astronaut, (512 * i, 0))
    several.save(portraits / "several.png")
    Image.new("RGB", (2, 2)).save(portraits / "small.png")
    (portraits / "text.jpg").write_text("no picture")
    return portraits


@pytest.fixture(scope="module")
def listed(folder, portraits, tmp_path_factory):
    names = [str(folder / "in"), str(portraits), str(folder / "gone.png"), str(folder / "gone.mp4")]
    out = RunFolder.of(str(tmp_path_factory.mktemp("run")))
    with load_session(folder / "tiny.onnx", device="cpu") as session:
        settings = run_settings(reading(folder), session.info)
    out.freeze(list_files(names, None, print), settings)
    return out


def reading(folder):
    return Reading(str(folder / "tiny.onnx"), "onnx", "cpu", detect_size=320, landmarks=True)


def by_id(tables):
    return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["id"])


def test_two_stages_answer_as_one_worker_does(folder, listed, monkeypatch):
    ids = pa.table({"id": list(reversed(range(len(listed.listed()))))})
    with ListedFaces(reading(folder), listed) as worker:
        expected = by_id([worker(ids)])
    # So little travels at once that there are several parcels.
    monkeypatch.setattr(finders, "_MOST", 300_000)
    parcels = list(FaceFinder(reading(folder), listed)(ids))
    assert len(parcels) > 1
    with FoundFaces(reading(folder), listed) as reader:
        assert by_id(map(reader, parcels)) == expected
    named = {row["file"].rpartition("/")[2]: row for row in expected}
    assert [len(named[name]["faces"]) for name in ("one.jpg", "several.png", "small.png")] == [
        1, 3, 0
    ]  # fmt: skip
    assert named["clip.avi"]["frames"] == 5
    for name in ("bad.png", "text.jpg", "gone.png", "gone.mp4"):
        assert named[name]["error"] is not None


@pytest.mark.slow
def test_a_stage_of_finders_writes_the_rows_of_workers_alone(folder, portraits, tmp_path):
    pytest.importorskip("ray")
    rows = []
    for name, more in (("alone", []), ("staged", ["--finders", "1"])):
        found = CliRunner().invoke(
            app,
            ["batch", str(folder / "in"), str(portraits), "--model", str(folder / "tiny.onnx"),
             "--device", "cpu", "--detect-size", "320", "--workers", "1", "--block", "4",
             "--out", str(tmp_path / name), *more],
        )  # fmt: skip
        assert found.exit_code == 1, found.stderr
        assert "error: 2 of 11 files could not be read" in found.stderr
        assert "bad.png" in found.stderr
        rows.append(by_id([pq.read_table(tmp_path / name / "rows")]))
    assert rows[0] == rows[1]
