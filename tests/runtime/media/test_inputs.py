import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from emonet_deploy.runtime.media.inputs import expand_inputs, read_list

PICTURE = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()


def tree(folder, *names, content=PICTURE):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def names(*arguments, say=lambda message: None):
    return [source.name.as_posix() for source in expand_inputs(map(str, arguments), say)]


def test_a_folder_yields_pictures_and_videos_whatever_their_ending(tmp_path, data):
    tree(tmp_path, "a.jpg", "b.jfif", "IMG_2.HEIC", "d.jp2", "noending", "e.JPG_large")
    tree(tmp_path, "notes.txt", "x.json", content=b"text")
    tree(tmp_path, "clip.mxf", "clip", content=(data / "field" / "camera.mxf").read_bytes())
    said = []
    assert names(tmp_path, say=said.append) == [
        "IMG_2.HEIC", "a.jpg", "b.jfif", "clip", "clip.mxf", "d.jp2", "e.JPG_large", "noending",
    ]  # fmt: skip
    assert {s.name.name: s.is_video for s in expand_inputs([str(tmp_path)])}["clip"]
    (note,) = said
    assert "2 files are neither picture nor video" in note
    assert "(.json, .txt)" in note


def test_hidden_and_system_files_are_left_out_of_folders_and_patterns(tmp_path, monkeypatch):
    tree(
        tmp_path, "a.jpg", "._a.jpg", ".hidden/b.jpg", "__MACOSX/c.jpg", "@eaDir/a.jpg/T_XL.jpg",
        "sub/.thumbnails/d.png", "$RECYCLE.BIN/e.jpg", "sub/f.jpg",
    )  # fmt: skip
    said = []
    assert names(tmp_path, say=said.append) == ["a.jpg", "sub/f.jpg"]
    assert said == []
    monkeypatch.chdir(tmp_path)
    assert names("*.jpg") == ["a.jpg"]
    assert names("**/*.jpg") == ["a.jpg", "f.jpg"]
    # What is named itself is meant.
    assert names("._a.jpg", ".hidden", ".hid*/*.jpg") == ["._a.jpg", "b.jpg", "b.jpg"]


def test_source_code_is_no_video_for_its_ending(tmp_path):
    tree(tmp_path, "index.ts", "mod.mts", content=b"export const x = 1;\n")
    packet = b"\x47\x40\x11\x10" + bytes(184)
    tree(tmp_path, "film.ts", content=packet * 8)
    tree(tmp_path, "film.m2ts", content=(b"\0\0\0\0" + packet) * 8)
    assert names(tmp_path) == ["film.m2ts", "film.ts"]


def test_camera_raw_and_sound_are_left_out_though_they_begin_like_pictures(tmp_path):
    tree(tmp_path, "x.dng", "x.nef", content=b"II*\0" + bytes(99))
    tree(tmp_path, "x.m4a", content=b"\0\0\0\x20ftypM4A " + bytes(99))
    (problem,) = (source.problem for source in expand_inputs([str(tmp_path)]))
    assert "holds no picture or video" in problem


def test_what_is_not_there_is_yielded_with_its_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "a.png")
    (tmp_path / "empty").mkdir()
    problems = {
        "gone.png": "does not exist; check the name",
        "*.nothing": "nothing matches",
        "empty": "holds no picture or video",
        "rtsp://10.0.0.9/cam": "--camera ADDRESS",
        "0": "--camera NUMBER",
        "/dev/video99": "--camera NUMBER",
        "/dev/null": "--camera",
        "x" * 300: "File name too long",
        "nul\0byte": "embedded null byte",
    }
    found = list(expand_inputs(["a.png", *problems]))
    assert found[0].problem is None
    for source, (name, expected) in zip(found[1:], problems.items(), strict=True):
        assert expected in source.problem, name
        assert "\n" not in source.problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_that_may_not_be_entered_is_a_problem(tmp_path):
    tree(tmp_path, "a.png", "locked/b.png")
    (tmp_path / "locked").chmod(0)
    try:
        problems = [source.problem for source in expand_inputs([str(tmp_path)])]
    finally:
        (tmp_path / "locked").chmod(0o700)
    assert problems[0] is None
    assert "Permission denied" in problems[1]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a.png\nb c.png\r\n\n", ["a.png", "b c.png"]),
        (b"\xef\xbb\xbfa.png\n# a comment\nb.png", ["a.png", "b.png"]),
        (b"a.png\0b\nc.png\0", ["a.png", "b\nc.png"]),
        ("a.png\r\nä.png\r\n".encode("utf-16"), ["a.png", "ä.png"]),
        (b"caf\xe9.png\n", [os.fsdecode(b"caf\xe9.png")]),
        (b"  padded.png  \n", ["padded.png"]),
        (b"", []),
    ],
)
def test_lists_as_programs_write_them(data, expected):
    assert list(read_list(data)) == expected


def test_a_name_in_a_list_is_taken_as_it_is_where_such_a_file_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("#1.png", " x.png "):
        Path(name).touch()
    assert list(read_list(b"#1.png\n x.png \n#2.png\n")) == ["#1.png", " x.png "]
