import os
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.detection.load import load_detector
from emonet_deploy.runtime.detection.without_search import KnownBoxes, ReadyOrDetected
from emonet_deploy.runtime.media.frame import Frame


def boxes_file(path, text):
    path.write_text(text, encoding="utf-8")
    return KnownBoxes(path)


def test_none_takes_the_whole_picture():
    (found,) = load_detector("none").detect(Frame(np.zeros((20, 30, 3), np.uint8)))
    assert found.box == (0, 0, 30, 20)
    assert (found.ready, found.score) == (True, 1)


def test_auto_takes_a_still_of_the_networks_size_as_ready_crop():
    class Nothing:
        def detect(self, frame):
            return []

    auto = ReadyOrDetected(Nothing())
    crop = np.zeros((256, 256, 3), np.uint8)
    assert len(auto.detect(Frame(crop))) == 1
    assert auto.detect(Frame(crop, time=0.0)) == []
    assert auto.detect(Frame(crop[:255])) == []


def test_a_table_of_samples_gives_boxes_too(tmp_path):
    # As `emonet dataset convert` writes it; where both columns are there, `file` counts.
    table = boxes_file(tmp_path / "t.csv", "path,expression,x0,y0,x1,y1\na.png,0,1,2,5,6\n")
    both = boxes_file(tmp_path / "b.csv", "path,file,x0,y0,x1,y1\na.png,b.png,1,2,5,6\n")
    a, b = (Frame(np.zeros((9, 9, 3), np.uint8), name) for name in ("a.png", "b.png"))
    assert [face.box for face in table.detect(a)] == [(1, 2, 5, 6)]
    assert both.detect(a) == []
    assert [face.box for face in both.detect(b)] == [(1, 2, 5, 6)]


def test_known_boxes_are_found_by_file_and_frame(tmp_path):
    known = boxes_file(
        tmp_path / "b.csv",
        "file,frame,x0,y0,x1,y1\na.mp4,0,1,2,3,4\na.mp4,0,5,6,7,8\na.mp4,1,,,,\nb.png,,0,0,9,9\n",
    )
    image = np.zeros((9, 9, 3), np.uint8)
    assert [f.box for f in known.detect(Frame(image, "a.mp4", 0))] == [(1, 2, 3, 4), (5, 6, 7, 8)]
    assert known.detect(Frame(image, "a.mp4", 1)) == []
    assert [f.box for f in known.detect(Frame(image, "some/folder/b.png"))] == [(0, 0, 9, 9)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x0,y0,x1\na,1,2,3\n", "lacks the column y1"),
        ("file,x0,y0,x1,y1\na,1,2,3,x\n", "line 2: a box needs four numbers"),
        ("file,x0,y0,x1,y1\na,3,2,1,4\n", "line 2: the box has no area"),
        ("file,x0,y0,x1,y1\na,1,2,nan,4\n", "line 2: the box has no area"),
        ("file,x0,y0,x1,y1\n\na,1,2,1,4\n", "line 3: the box has no area"),
        ("file,x0,y0,x1,y1\na,1,2,3,2\n", "line 2: the box has no area"),
        ("", "lacks the column file"),
    ],
)
def test_wrong_boxes_are_named_with_their_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        boxes_file(tmp_path / "b.csv", text)


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_as_boxes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("boxes") / "b.csv"
    path.write_bytes(b"file,frame,x0,y0,x1,y1\n" + content)
    with suppress(InputError):
        KnownBoxes(path)


IMAGE = np.zeros((72, 96, 3), np.uint8)


def found_in(known, source, index=0):
    return [face.box for face in known.detect(Frame(IMAGE, source, index))]


def test_a_frame_may_be_written_as_a_fraction(tmp_path):
    known = boxes_file(tmp_path / "b.csv", "file,frame,x0,y0,x1,y1\na.mp4,3.0,1,2,30,40\n")
    assert found_in(known, "a.mp4", 3) == [(1, 2, 30, 40)]
    with pytest.raises(InputError, match=r"line 2.*no number of a frame"):
        boxes_file(tmp_path / "b.csv", "file,frame,x0,y0,x1,y1\na.mp4,3.5,1,2,30,40\n")


@pytest.mark.parametrize(
    ("row", "source"),
    [
        ("img/x.jpg", "x.jpg"),  # written in the folder above
        ("x.jpg", "img/x.jpg"),
        ("img\\x.jpg", "img/x.jpg"),  # written on Windows
        ("./img/x.jpg", "img/x.jpg"),
        ("/home/me/img/x.jpg", "/data/img/x.jpg"),  # on another machine
        ("C:\\me\\img\\x.jpg", "/data/img/x.jpg"),
        ("caf\\xe9.jpg", os.fsdecode(b"caf\xe9.jpg")),  # as our own tables write it
    ],
)
def test_rows_belong_to_files_by_the_end_of_their_paths(tmp_path, row, source):
    known = boxes_file(tmp_path / "b.csv", f"file,x0,y0,x1,y1\n{row},1,2,30,40\n")
    known.require([source])
    (face,) = known.detect(Frame(IMAGE, source))
    assert (face.box, face.score) == ((1, 2, 30, 40), 1)
    assert known.problem() is None


@pytest.mark.parametrize(
    ("row", "source"),
    [
        ("other/img/x.jpg", "/data/img/x.jpg"),  # of a folder that is told from the input's
        ("/home/me/other/x.jpg", "/data/img/x.jpg"),
        ("/x.jpg", "/data/img/y.jpg"),
    ],
)
def test_rows_of_other_files_are_of_no_input(tmp_path, row, source):
    known = boxes_file(tmp_path / "b.csv", f"file,x0,y0,x1,y1\n{row},1,2,30,40\n")
    assert found_in(known, source) == []


def test_of_files_with_one_name_each_has_its_own_boxes(tmp_path):
    rows = "a/0001.jpg,1,2,30,40\nb/0001.jpg,5,6,50,60\n"
    known = boxes_file(tmp_path / "b.csv", f"file,x0,y0,x1,y1\n{rows}")
    assert found_in(known, "/data/a/0001.jpg") == [(1, 2, 30, 40)]
    assert found_in(known, "/data/b/0001.jpg") == [(5, 6, 50, 60)]
    # Of a third folder, and where it is not clear which is meant, none.
    assert found_in(known, "/data/c/0001.jpg") == []
    assert found_in(known, "0001.jpg") == []


def test_a_table_of_other_files_or_frames_is_no_answer(tmp_path):
    known = boxes_file(tmp_path / "b.csv", "file,frame,x0,y0,x1,y1\na.mp4,9,1,2,30,40\n")
    with pytest.raises(InputError, match=r"none of the 1 boxes.*names a.mp4, the input is b.mp4"):
        known.require(["b.mp4", "c.mp4"])
    known.require(["c.mp4", "a.mp4"])
    assert found_in(known, "a.mp4", 0) == []
    assert "none of the 1 boxes" in known.problem()


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ("5000,5000,5100,5120", "outside the picture of 96 x 72 pixels"),
        ("80,60,180,160", "for the most part"),  # of a picture of twice the size
        ("-1e300,-1e300,1e300,1e300", "for the most part"),
        ("0.2,0.3,0.6,0.8", "not from 0 to 1"),
        ("10,10,10.5,60", "smaller than 2 pixels"),
    ],
)
def test_boxes_of_another_scale_are_told_and_left_out(tmp_path, box, told):
    said = []
    path = tmp_path / "b.csv"
    path.write_text(f"file,x0,y0,x1,y1\na.png,{box}\na.png,-5,10,40,60\n")
    known = KnownBoxes(path, say=said.append)
    assert found_in(known, "a.png") == [(-5, 10, 40, 60)]
    (line,) = said
    assert told in line
    assert "line 2: in a.png" in line
    assert "1 of 2 boxes" in known.problem()
