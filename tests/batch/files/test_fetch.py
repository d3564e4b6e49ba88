import cv2
import fsspec
import numpy as np
import pytest

from emonet_deploy.batch.files.fetch import fetch, is_called_clip, picture_of
from emonet_deploy.errors import InputError

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
PNG = cv2.imencode(".png", cv2.cvtColor(PICTURE, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("a.mp4", True),
        ("dir/A.AVI", True),
        ("a.png", False),
        ("a", False),
        ("mp4", False),
        ("s3://lake/a.mp4?region=eu.png", True),
        ("s3://lake/a.png?name=b.mp4", False),
        ("s3://lake/a.mp4", True),
        ("odd?name.mp4", True),
    ],
)
def test_clips_are_told_by_the_end_of_their_names(name, clip):
    assert is_called_clip(name) is clip


def test_a_file_here_is_read_where_it_lies(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    source = fetch(str(tmp_path / "a.png"), tmp_path / "copies", 0)
    assert source.path == tmp_path / "a.png"
    assert not source.is_video
    assert np.array_equal(picture_of(source, str(source.path)), PICTURE)


def test_a_file_of_a_store_is_copied_under_its_number(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/fetch/a.png", PNG)
    memory.pipe("/fetch/b.mp4", b"clip")
    for index, (name, video) in enumerate([("a.png", False), ("b.mp4", True)]):
        source = fetch(f"memory://fetch/{name}", tmp_path, index)
        assert source.path == tmp_path / f"{index}.{name[-3:]}"
        assert source.is_video is video
    assert (tmp_path / "1.mp4").read_bytes() == b"clip"
    source = fetch("memory://fetch/a.png", tmp_path, 0)
    assert np.array_equal(picture_of(source, "memory://fetch/a.png"), PICTURE)


def test_a_damaged_picture_is_called_what_the_user_called_it(tmp_path):
    fsspec.filesystem("memory").pipe("/fetch/bad.png", PNG[:40])
    source = fetch("memory://fetch/bad.png", tmp_path, 3)
    with pytest.raises(InputError, match=r"memory://fetch/bad\.png"):
        picture_of(source, "memory://fetch/bad.png")
    (tmp_path / "bad.png").write_bytes(PNG[:40])
    with pytest.raises(InputError, match=r"/bad\.png"):
        picture_of(fetch(str(tmp_path / "bad.png"), tmp_path, 0), str(tmp_path / "bad.png"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.png", "does not exist"),
        ("gone*.png", r"gone\*\.png does not exist; check the name"),
        ("gone[1].png", "does not exist; check the name"),
        (".", "is a folder, in which no picture or video was found"),
    ],
)
def test_what_is_not_there_says_so(tmp_path, name, message):
    (tmp_path / "gone1.png").write_bytes(PNG)  # which a pattern would find
    with pytest.raises(InputError, match=message):
        fetch(str(tmp_path / name), tmp_path, 0)


def test_a_name_with_a_pattern_in_it_is_a_name(tmp_path):
    for name in ("a[1].png", "a*.png", "a?.png"):
        (tmp_path / name).write_bytes(PNG)
        assert fetch(str(tmp_path / name), tmp_path, 0).path == tmp_path / name


@pytest.mark.parametrize("address", ["memory://fetch/none.png", "nowhere://x/a.png"])
def test_an_address_with_nothing_behind_it_is_an_error(tmp_path, address):
    with pytest.raises(InputError, match=rf"cannot (read|reach) {address}"):
        fetch(address, tmp_path, 0)
