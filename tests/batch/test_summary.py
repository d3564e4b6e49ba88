import math

import pytest
from helpers.batch_runs import clip_rows, face, written

from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.batch.summary import summary_rows, summary_table
from emonet_deploy.errors import InputError


def test_summaries_are_means_shares_and_changes_of_each_group(tmp_path):
    out = written(tmp_path, clip_rows())
    one, two = summary_rows(out, "person")
    assert (one.group, one.faces, one.valence, one.arousal) == ("/d/a.mp4 #0", 2, 0.25, 0.5)
    assert one.shares == {"happy": 0.5, "sad": 0.5}
    assert one.transitions == {"happy > sad": 1}
    assert (two.valence, two.changes, two.expression) == (-0.375, 0, "sad")
    assert [(row.group, row.faces) for row in summary_rows(out, "folder")] == [("/d", 4)]
    assert [row.group for row in summary_rows(out, "hour")] == ["/d/a.mp4 h0", "/d/a.mp4 h1"]
    assert [(row.group, row.changes) for row in summary_rows(out, "clip")] == [("/d/a.mp4", 1)]


def clip(*faces, file="a.mp4", number=0):
    return {"id": number, "file": file, "frames": 9, "error": None, "faces": list(faces)}


@pytest.mark.parametrize(
    ("seconds", "hour"), [(None, 0), (0.0, 0), (3599.999, 0), (3600.0, 1), (86400.0, 24)]
)
def test_an_hour_begins_with_its_first_second(tmp_path, seconds, hour):
    out = written(tmp_path, [clip(face(0, 0, "happy", 0.0, seconds))])
    assert [row.group for row in summary_rows(out, "hour")] == [f"a.mp4 h{hour}"]


def test_changes_are_those_of_one_identity_of_one_file(tmp_path):
    words = {0: ["happy", "sad", "sad", "happy", "sad"], 1: ["sad", "sad", "neutral"]}
    faces = [face(i, who, word, 0.0, i) for who in words for i, word in enumerate(words[who])]
    rows = [clip(*faces), clip(face(0, 0, "fear", 0.0, 0), file="b.mp4", number=1)]
    (whole,) = summary_rows(written(tmp_path, rows), "folder")
    assert whole.group == ""
    assert whole.transitions == {"happy > sad": 2, "sad > happy": 1, "sad > neutral": 1}
    assert list(whole.transitions) == sorted(whole.transitions)
    assert whole.changes == 4
    assert list(whole.shares) == ["fear", "happy", "neutral", "sad"]
    assert math.fsum(whole.shares.values()) == pytest.approx(1)
    assert whole.shares["sad"] == 5 / 9
    assert whole.expression == "sad"
    assert whole.as_dict()["shares"] == whole.shares


def test_a_line_says_what_a_group_has_most_of(tmp_path):
    faces = [face(i, 0, word, -0.125, i) for i, word in enumerate(["sad", "happy", "sad"])]
    table = summary_table(summary_rows(written(tmp_path, [clip(*faces)]), "person"))
    assert dict(zip(table.columns, *table.rows, strict=True)) == {
        "group": "a.mp4 #0", "faces": "3", "valence": "-0.125", "arousal": "+0.500",
        "expression": "sad", "share": "67%", "changes": "2",
    }  # fmt: skip


def test_groups_are_in_the_order_of_their_names_and_of_no_face_there_is_none(tmp_path):
    rows = [clip(face(0, 0, "sad", 0.0), file=name, number=i) for i, name in enumerate("cab")]
    rows.append(clip(file="d", number=3))
    out = written(tmp_path, rows)
    assert [row.group for row in summary_rows(out, "clip")] == ["a", "b", "c"]
    with pytest.raises(InputError, match="holds no run"):
        summary_rows(str(tmp_path / "other"), "clip")
    assert RunFolder.of(out).complete
