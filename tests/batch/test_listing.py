import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emonet_deploy.batch.listing import RunFolder, model_hash, parquet_bytes
from emonet_deploy.batch.parts import Part
from emonet_deploy.batch.rows import new_row, row_schema
from emonet_deploy.errors import InputError


@pytest.fixture
def out(tmp_path):
    return RunFolder.of(str(tmp_path / "run"))


def write(folder, name, rows):
    path = folder / "run" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(parquet_bytes(rows))


def rows(*ids):
    return pa.Table.from_pylist([new_row(i, f"{i}.png") for i in ids], schema=row_schema())


def test_a_folder_is_the_same_with_a_slash_at_its_end(tmp_path):
    plain = RunFolder.of(str(tmp_path))
    assert RunFolder.of(f"{tmp_path}/").path == plain.path == str(tmp_path)
    assert plain.file("a") == f"{tmp_path}/a"


def test_a_list_is_frozen_once(out, tmp_path):
    assert not out.frozen
    with pytest.raises(InputError, match="no input named"):
        out.freeze([], {})
    assert out.freeze(["a", "b"], {"crop": "paper", "size": 1}) == 2
    assert out.frozen
    assert out.freeze([], {"crop": "paper", "size": 1}) == 2
    assert out.settings() == {"crop": "paper", "size": 1}
    assert json.loads((tmp_path / "run" / "_run.json").read_text()) == out.settings()
    assert [out.listed()[i].file for i in (0, 1)] == ["a", "b"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "_list.parquet",
        "_run.json",
    ]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"crop": "stretch", "size": 1}, "crop"),
        ({"crop": "stretch", "size": 2}, "crop, size"),
        ({"crop": "paper"}, "size"),
        ({"crop": "paper", "size": 1, "new": 0}, "new"),
    ],
)
def test_a_run_with_other_settings_is_refused_by_what_differs(out, settings, names):
    out.freeze(["a"], {"crop": "paper", "size": 1})
    with pytest.raises(InputError, match=rf"holds a run with another {names};"):
        out.freeze(["a"], settings)


def test_settings_that_json_writes_alike_are_the_same(out):
    out.freeze(["a"], {"size": (1, 2)})
    assert out.freeze(["a"], {"size": [1, 2]}) == 1


def test_rows_of_files_and_of_parts_have_a_folder_each(out):
    out.freeze(["a"], {})
    assert out.written == out.file("rows")
    other = RunFolder.of(out.uri + "2")
    other.freeze([Part("a")], {})
    assert other.written == other.file("segments")


def test_the_checkpoint_counts_what_is_there_for_good(out, tmp_path):
    assert out.committed() == {}
    out.freeze(["a"], {})
    for name, ids in (("a.parquet", [1, 2]), ("b.pending.parquet", [3]), ("c.parquet", [4])):
        write(tmp_path, f"_checkpoint/{name}", pa.table({"id": ids}))
    write(tmp_path, "_checkpoint/note.txt", pa.table({"id": [5]}))
    assert out.committed() == {"a.parquet": 2, "c.parquet": 1}
    assert out.committed({"a.parquet": 2}) == {"c.parquet": 1}


def test_of_a_run_under_way_only_rows_with_a_mark_are_read(out, tmp_path):
    out.freeze(["a", "b", "c"], {})
    assert out.written_files() == []
    assert out.rows().count_rows() == 0
    assert out.rows().schema == row_schema()
    write(tmp_path, "rows/one-0.parquet", rows(0, 1))
    write(tmp_path, "rows/two-0.parquet", rows(2))
    assert out.rows().count_rows() == 0
    write(tmp_path, "_checkpoint/one.parquet", pa.table({"id": [0, 1]}))
    assert out.written_files() == [out.file("rows/one-0.parquet")]
    assert out.rows().to_table().column("id").to_pylist() == [0, 1]
    assert not out.complete
    out.finish()
    assert out.complete
    assert out.rows().count_rows() == 3


def test_rows_of_parts_are_none_of_files(out, tmp_path):
    out.freeze([Part("a", 0.0, 2.0), Part("a", 1.0, None, 2.0)], {})
    write(tmp_path, "segments/one-0.parquet", rows(0, 1))
    write(tmp_path, "_checkpoint/one.parquet", pa.table({"id": [0, 1]}))
    assert out.written_files() == [out.file("segments/one-0.parquet")]
    assert out.rows().count_rows() == 0


def test_a_model_is_told_by_its_content(out, tmp_path):
    model, other = tmp_path / "m.onnx", tmp_path / "n.onnx"
    model.write_bytes(b"one")
    other.write_bytes(b"two")
    told = f"sha256:{hashlib.sha256(b'one').hexdigest()}"
    assert model_hash(str(model)) == told
    out.freeze(["a"], {"model": told})
    out.require_model(str(model))
    out.require_model("http://host/model")  # which is not looked at
    with pytest.raises(InputError, match="is not the model of this run"):
        out.require_model(str(other))
    with pytest.raises(InputError, match="cannot read"):
        model_hash(str(tmp_path / "gone"))


def test_what_cannot_be_read_is_one_error(out, tmp_path):
    with pytest.raises(InputError, match="holds no run"), out.existing():
        pass
    out.freeze(["a"], {})
    (tmp_path / "run" / "_list.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot read the run"), out.existing():
        out.listed()
    with pytest.raises(InputError, match="cannot use"):
        out.freeze([], {})
    assert pq.read_table(pa.BufferReader(parquet_bytes(rows(7)))) == rows(7)
