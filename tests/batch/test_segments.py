"""Clips in segments: joined, they are the rows of clips that were read whole."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.clips import write_film
from typer.testing import CliRunner

from emonet_deploy.batch.actor import Faces, ListedFaces, Reading
from emonet_deploy.batch.joining import join_parts, join_run
from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.batch.outcome import count_rows
from emonet_deploy.batch.parts import Part
from emonet_deploy.batch.rows import row_schema
from emonet_deploy.batch.run import run_settings
from emonet_deploy.batch.segments import Segments, cut_files
from emonet_deploy.batch.summary import summary_rows
from emonet_deploy.cli import app
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.media.video import VideoReader

FRAMES = 80
SEGMENTS = Segments(0.6, 0.2)  # 15 frames, and 5


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two faces that move; one leaves after 1.1 s and comes back after 2.3 s."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_film(path, FRAMES, seed=2)
    return str(path)


def reading(folder, **options):
    # A face that comes back is a new one: over a cut, nobody knows it again.
    options = {"detect_size": 256, "memory": 0.0} | options
    return Reading(str(folder / "tiny.onnx"), "onnx", "cpu", **options)


def run_in_segments(folder, place, files, **options):
    """Do what a run does on Ray, two segments a file, as far as the rows of the segments."""
    here, out = reading(folder, **options), RunFolder.of(str(place))
    with load_session(folder / "tiny.onnx", device="cpu") as session:
        total = out.freeze(cut_files(files, SEGMENTS), run_settings(here, session.info))
    (place / "segments").mkdir()
    (place / "_checkpoint").mkdir()
    with ListedFaces(here, out) as worker:
        for first in range(0, total, 2):
            rows = worker(pa.table({"id": list(range(first, min(first + 2, total)))}))
            pq.write_table(rows, place / "segments" / f"r{first}-0.parquet")
            pq.write_table(rows.select(["id"]), place / "_checkpoint" / f"r{first}.parquet")
    return out


def rows_of(out):
    return {row["file"]: row for row in out.rows().to_table().to_pylist()}


def furthest(one, other):
    """How far the probabilities of the same faces of two rows are apart at most."""
    pairs = list(zip(one["faces"], other["faces"], strict=True))
    assert all((a["frame"], a["face"]) == (b["frame"], b["face"]) for a, b in pairs)
    return max(
        abs(p - q)
        for a, b in pairs
        for (_, p), (_, q) in zip(a["probabilities"], b["probabilities"], strict=True)
    )


def test_joined_segments_are_the_row_of_the_whole_clip(folder, clip, tmp_path):
    gone, picture = str(folder / "gone.mp4"), str(folder / "in" / "p1.png")
    files = [picture, clip, gone, str(folder / "in" / "clip.avi")]
    out = run_in_segments(folder, tmp_path / "run", files, smooth="none", landmarks=True)
    starts = [out.listed()[i].start for i in range(len(out.listed()))]
    assert starts == [None, 0.0, 0.6, 1.2, pytest.approx(1.8), 2.4, None, 0.0, 0.6]
    assert count_rows(out.uri).files == 4
    assert count_rows(out.uri).rows == 0  # they are not joined
    join_run(out)
    out.finish()
    with Faces(reading(folder, smooth="none", landmarks=True)) as faces:
        whole = faces(pa.table({"file": files})).to_pylist()
    people = [{face["face"] for face in row["faces"]} for row in whole]
    assert people[1] > {0, 1}  # who came back is somebody else
    assert len(whole[1]["faces"]) > 120
    joined = rows_of(out)
    assert [joined[file]["id"] for file in files] == [0, 1, 6, 7]
    assert [joined[row["file"]] | {"id": row["id"]} for row in whole] == whole
    found = count_rows(out.uri)
    assert (found.files, found.rows, found.unreadable) == (4, 4, 1)
    assert len(summary_rows(out.uri, "person")) == sum(map(len, people))


def test_smoothing_has_caught_up_when_the_overlap_ends(folder, clip, tmp_path):
    apart = {}
    for smooth in ("authors", "0.1"):
        out = run_in_segments(folder, tmp_path / smooth, [clip], smooth=smooth)
        join_run(out)
        out.finish()
        with Faces(reading(folder, smooth=smooth)) as faces:
            (whole,) = faces(pa.table({"file": [clip]})).to_pylist()
        apart[smooth] = furthest(rows_of(out)[clip], whole)
    # Five frames, which are the overlap, are all that the authors' weights remember.
    assert apart["authors"] < 2e-6  # the last digit that is written
    # Of what came before the segment, 1/e to the overlap's share of the time is left: here 1/e^2.
    assert 1e-5 < apart["0.1"] < 0.1


def test_joining_goes_on_where_it_was_killed(folder, clip, tmp_path):
    files = [str(folder / "in" / "p1.png"), clip]
    out = run_in_segments(folder, tmp_path, files)
    join_run(out)
    rows = Path(out.file("rows"))
    first = rows_of_files(rows)
    assert len(first) == 2
    (rows / "clip-1.parquet").unlink()
    (rows / "clip-1.parquet.writing").write_bytes(b"PAR1")
    kept = os.stat(rows / "r0-0.parquet").st_mtime_ns
    join_run(out)
    assert rows_of_files(rows) == first
    assert os.stat(rows / "r0-0.parquet").st_mtime_ns == kept
    assert {path.name for path in rows.iterdir()} == {"r0-0.parquet", "clip-1.parquet"}


def rows_of_files(folder):
    return {path.name: pq.read_table(path).to_pylist() for path in folder.iterdir()}


def seen(frame, face, left):
    return {
        "frame": frame, "time": frame / 10, "face": face, "box": [left, 0, left + 10, 10],
        "score": 1.0, "expression": "happy", "probabilities": [("happy", 1.0)], "valence": 0.0,
        "arousal": 0.0,
    }  # fmt: skip


def part_row(number, frames, *faces, error=None):
    row = {"id": number, "file": "a.mp4", "frames": frames, "error": error, "faces": list(faces)}
    return pa.Table.from_pylist([row], schema=row_schema())


def test_a_face_is_whom_it_overlaps_most_in_the_common_frames():
    parts = [Part("a.mp4", 0.0, 1.2), Part("a.mp4", 1.0, 2.2, 1.2), Part("a.mp4", 2.0, None, 2.2)]
    rows = [
        # The tracker had taken 1 back: the numbers of the first segment stay as they are.
        part_row(0, 12, seen(0, 0, 0), seen(9, 2, 50), *(seen(i, 0, 0) for i in (10, 11)),
                 *(seen(i, 2, 50) for i in (10, 11))),
        # 0 is on 2, 1 on a part of 0; 2 comes and goes where both look; 3 is new.
        part_row(1, 10, *(seen(i, 0, 51) for i in (10, 11, 12)), seen(10, 1, 6), seen(12, 1, 3),
                 seen(10, 2, 90), seen(12, 3, 90), *(seen(i, 3, 90) for i in (20, 21))),
        part_row(2, 0, error="broken"),
    ]  # fmt: skip
    (row,) = join_parts(parts, rows).to_pylist()
    assert (row["id"], row["frames"], row["error"]) == (0, 22, "broken")
    assert [(face["frame"], face["face"]) for face in row["faces"]] == [
        (0, 0), (9, 2), (10, 0), (11, 0), (10, 2), (11, 2), (12, 2), (12, 0), (12, 3), (20, 3),
        (21, 3),
    ]  # fmt: skip


def test_clips_are_cut_so_that_the_last_part_is_no_mere_overlap():
    segments = Segments(10, 2)
    assert segments.of("a", 0) == segments.of("a", 12) == [Part("a")]
    assert segments.of("a", 12.1) == [Part("a", 0, 12), Part("a", 10, None)]
    assert segments.of("a", 32) == [Part("a", 0, 12), Part("a", 10, 22), Part("a", 20, None)]
    for wrong in (Segments, 2, 2), (Segments, 0, 0), (Segments, 5, -1):
        with pytest.raises(InputError, match="cannot overlap by"):
            wrong[0](*wrong[1:])


@pytest.mark.parametrize("pace", [{}, {"every": 7}, {"max_fps": 9}])
def test_a_stretch_of_a_clip_has_its_frames_numbers_and_times(clip, pace):
    whole = [(frame.index, frame.time) for frame in VideoReader(clip, **pace)]
    some = [(frame.index, frame.time) for frame in VideoReader(clip, start=0.6, stop=1.4, **pace)]
    assert some == [each for each in whole if 0.6 <= each[1] < 1.4]
    assert len(some) >= 2
    assert not list(VideoReader(clip, start=100, **pace))
    assert not list(VideoReader(clip, stop=0.0, **pace))


@pytest.mark.slow
def test_a_run_in_segments_goes_on_and_is_refused_with_others(folder, clip, tmp_path):
    pytest.importorskip("ray")
    arguments = [
        "batch", clip, str(folder / "in"), "--model", str(folder / "tiny.onnx"), "--device", "cpu",
        "--detect-size", "256", "--smooth", "none", "--memory", "0", "--workers", "1",
    ]  # fmt: skip
    rows = []
    for name, more in (("whole", []), ("cut", ["--segment", "0.6", "--overlap", "0.2"])):
        out = tmp_path / name
        found = CliRunner().invoke(app, [*arguments, "--out", str(out), *more])
        assert found.exit_code == 1, found.stderr  # bad.png
        assert "8 of 8 files" in found.stdout
        assert (out / "_SUCCESS").exists()
        rows.append({row["file"]: row["faces"] for row in pq.read_table(out / "rows").to_pylist()})
    assert rows[0] == rows[1]
    # As if it had been killed between the rows of the segments and those of the files.
    segments = {path.name: path.stat().st_mtime_ns for path in (out / "segments").iterdir()}
    (out / "_SUCCESS").unlink()
    for path in (out / "rows").iterdir():
        path.unlink()
    found = CliRunner().invoke(app, [*arguments, "--out", str(out), *more])
    assert "8 of 8 files" in found.stdout
    assert {p.name: p.stat().st_mtime_ns for p in (out / "segments").iterdir()} == segments
    found = CliRunner().invoke(app, [*arguments, "--out", str(out), "--segment", "5"])
    assert found.exit_code == 1
    assert "holds a run with another overlap, segment" in found.stderr
    found = CliRunner().invoke(app, [*arguments, "--out", str(out), "--overlap", "1"])
    assert found.stderr.splitlines()[0] == "error: --overlap goes with --segment"
