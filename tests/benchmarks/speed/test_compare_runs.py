import json
from dataclasses import replace

import pytest
from helpers.bench_rows import INT8, PEER, ROW

from emonet_deploy.benchmarks.speed.compare_runs import change_table, changes_since
from emonet_deploy.errors import InputError


def write(path, *rows):
    path.write_text(json.dumps({"environment": {}, "rows": [row.to_dict() for row in rows]}))
    return path


def test_a_change_counts_only_beyond_the_noise(tmp_path):
    old = write(tmp_path / "old.json", ROW, INT8)
    # Median to 90th percentile is 5%: 2 * 0.05 / 1.28 / 10 for each run, 1.6% for both.
    faster = replace(ROW, speedup=2.2 * 1.02)
    same = replace(INT8, speedup=3.0 * 0.99)
    found = changes_since(old, [faster, same, PEER])
    assert [change.real for change in found] == [True, False]
    assert found[0].noise == pytest.approx(0.0156, abs=1e-4)
    assert [cells[-1] for cells in change_table(found).rows] == ["faster", "same"]
    assert [
        cells[-1] for cells in change_table(changes_since(old, [replace(ROW, speedup=2)])).rows
    ] == ["slower"]


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [1]}', '{"rows": [{"backend": "onnx"}]}'])
def test_a_file_that_is_no_bench_result_is_one_line(tmp_path, text):
    old = tmp_path / "old.json"
    old.write_text(text)
    if text.startswith('{"rows": [{'):
        assert changes_since(old, [ROW]) == []
        return
    with pytest.raises(InputError, match="not a JSON result"):
        changes_since(old, [ROW])


def test_a_missing_older_result_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        changes_since(tmp_path / "none.json", [ROW])
