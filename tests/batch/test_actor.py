"""A worker by itself: how it is set up, which ids it answers, what counts of a part of a clip."""

import cv2
import pyarrow as pa
import pytest

from emonet_deploy.batch.actor import Faces, ListedFaces, Reading
from emonet_deploy.batch.listing import RunFolder, model_hash
from emonet_deploy.batch.parts import Part
from emonet_deploy.batch.rows import row_schema


def reading(folder, **options):
    return Reading(str(folder / "tiny.onnx"), "onnx", "cpu", detector="none", **options)


@pytest.fixture
def opencv():
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("opencv")
@pytest.mark.parametrize(("options", "threads"), [({}, 1), ({"threads": 3}, 3)])
def test_opencv_has_the_threads_of_the_worker(folder, options, threads):
    with Faces(reading(folder, **options)):
        assert cv2.getNumThreads() == threads


@pytest.mark.usefixtures("opencv")
def test_without_a_number_libraries_keep_their_own(folder):
    with Faces(reading(folder, threads=None)):
        assert cv2.getNumThreads() == 2


def test_ids_are_passed_on_and_are_places_where_there_are_none(folder):
    files = [str(folder / "in" / f"p{i}.png") for i in range(3)]
    with Faces(reading(folder)) as faces:
        plain = faces(pa.table({"file": files}))
        named = faces(pa.table({"id": [7, 5, 9], "file": files}))
        wide = Faces(reading(folder, landmarks=True))(pa.table({"file": files[:1]}))
    assert plain.column("id").to_pylist() == [0, 1, 2]
    assert named.column("id").to_pylist() == [7, 5, 9]
    assert [row["frames"] for row in named.to_pylist()] == [1, 1, 1]
    assert plain.schema == row_schema()
    assert wide.schema == row_schema(landmarks=True)
    assert len(wide.to_pylist()[0]["faces"][0]["landmarks"]) == 68
    (face,) = plain.to_pylist()[0]["faces"]
    assert (face["frame"], face["time"]) == (0, None)


@pytest.mark.parametrize(
    ("options", "part", "read", "fresh"),
    [
        ({}, Part(""), [0, 1, 2, 3, 4], 5),
        ({"every": 2}, Part(""), [0, 2, 4], 3),
        ({"fps": 2.5}, Part(""), [0, 2, 4], 3),
        ({}, Part("", 0.0, 0.6), [0, 1, 2], 3),
        ({}, Part("", 0.4, None, 0.6), [2, 3, 4], 2),
        ({}, Part("", 0.4, 0.8, 0.41), [2, 3], 1),
    ],
)
def test_of_a_part_frames_before_it_is_fresh_are_read_and_do_not_count(
    folder, tmp_path, options, part, read, fresh
):
    """The clip has five frames a second, and five in all."""
    out, clip = RunFolder.of(str(tmp_path)), str(folder / "in" / "clip.avi")
    parts = [Part("first", 0.0, part.fresh), Part(clip, part.start, part.stop, part.fresh)]
    if not part.start:
        parts[0] = Part("first")
    out.freeze(parts, {"model": model_hash(str(folder / "tiny.onnx"))})
    with ListedFaces(reading(folder, **options), out) as worker:
        (row,) = worker(pa.table({"id": [1]})).to_pylist()
    assert (row["id"], row["file"], row["error"]) == (1, clip, None)
    assert [face["frame"] for face in row["faces"]] == read
    assert [face["time"] for face in row["faces"]] == [round(i / 5, 6) for i in read]
    assert row["frames"] == fresh
