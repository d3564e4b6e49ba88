import pytest
from helpers.batch_runs import clip_rows, face, written

from emonet_deploy.batch.outcome import count_rows
from emonet_deploy.errors import InputError


def test_a_run_is_counted_with_its_reasons(tmp_path):
    found = count_rows(written(tmp_path, clip_rows()))
    assert (found.files, found.rows, found.faces, found.unreadable) == (2, 2, 4, 1)
    assert found.reasons == (("/d/b.jpg", "gone"),)


@pytest.mark.parametrize("named", [0, 1, 20, 25, 30])
def test_every_file_is_counted_and_so_many_are_named(tmp_path, named):
    rows = [
        {"id": i, "file": f"{i}.png", "frames": 1, "error": None if i % 2 else f"why {i}",
         "faces": [face(0, 0, "sad", 0.0)] * (i % 3)}
        for i in range(50)
    ]  # fmt: skip
    out = written(tmp_path, rows)
    found = count_rows(out, named)
    assert (found.files, found.rows, found.faces, found.unreadable) == (50, 50, 49, 25)
    bad = [(row["file"], row["error"]) for row in rows if row["error"]]
    assert list(found.reasons) == bad[:named]
    if named == 20:
        assert count_rows(out) == found


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        count_rows(str(tmp_path))
