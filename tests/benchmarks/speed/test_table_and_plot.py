"""Table, picture and comparison of what `emonet bench` measured."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from emonet_deploy.benchmarks.speed.bench import BenchRow
from emonet_deploy.benchmarks.speed.compare_runs import change_table, changes_since
from emonet_deploy.benchmarks.speed.plot import plot
from emonet_deploy.benchmarks.speed.table import COLUMNS, markdown, table
from emonet_deploy.errors import InputError

ROW = BenchRow(
    backend="onnx", provider="CPUExecutionProvider", precision="fp32", target="cpu", threads=2,
    batch=1, n=100, p50_ms=140.0, p90_ms=147.0, p95_ms=150.0, p99_ms=160.0, throughput=7.14,
    peak_rss_mb=400.0, cold_start_ms=900.0, size_mb=56.4, speedup=2.2, agreement=1.0,
    ccc_valence=1.0, ccc_arousal=1.0, macs=6_800_000_000, peak_share=0.5,
)  # fmt: skip
PEER = replace(
    ROW, backend="peer", provider="ncnn 1.0 <x>", target=None, peak_rss_mb=None,
    cold_start_ms=None, size_mb=None, speedup=2.0, throughput=6.5,
)  # fmt: skip
INT8 = replace(
    ROW, precision="int8", speedup=3.0, throughput=9.7, ccc_valence=0.992, ccc_arousal=0.995
)


def test_the_table_has_a_cell_for_each_column_and_dashes_for_what_is_not_known():
    ours, peer = table([ROW, PEER])
    assert len(ours) == len(peer) == len(COLUMNS)
    assert ours[0] == "onnx (cpu)"
    assert peer[0] == "ncnn 1.0 <x>"
    assert peer[COLUMNS.index("size MB")] == "-"
    lines = markdown(COLUMNS, [ours, peer]).splitlines()
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 1}


def test_the_picture_shows_every_row_that_has_a_concordance():
    unknown = replace(ROW, ccc_valence=None)
    tree = ET.fromstring(plot([ROW, PEER, INT8, unknown], "Speed & agreement"))
    circles = tree.findall("{*}circle")
    assert len(circles) == 3
    texts = [element.text for element in tree.findall("{*}text")]
    assert "Speed & agreement" in texts
    assert "ncnn 1.0 <x> fp32, batch 1, 2.00x" in texts
    # Higher concordance is higher up, more images a second further right.
    place = {c.get("fill"): (float(c.get("cx")), float(c.get("cy"))) for c in circles}
    assert place["#b5481d"][0] > place["#1f5fa8"][0]
    assert place["#b5481d"][1] > place["#1f5fa8"][1]
    for x, y in place.values():
        assert 0 < x < 860
        assert 0 < y < 480


def test_rows_that_all_agree_have_a_scale_too():
    equal = replace(ROW, ccc_valence=1 - 1e-13, ccc_arousal=1.0)
    tree = ET.fromstring(plot([equal, replace(equal, throughput=3.0)], "All equal"))
    heights = {float(c.get("cy")) for c in tree.findall("{*}circle")}
    assert len(heights) == 1
    assert 0 < heights.pop() < 480


def test_a_picture_of_nothing_is_still_a_picture():
    assert ET.fromstring(plot([], "none")).findall("{*}circle") == []


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
    assert [cells[-1] for cells in change_table(found)] == ["faster", "same"]
    assert [cells[-1] for cells in change_table(changes_since(old, [replace(ROW, speedup=2)]))] == [
        "slower"
    ]


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
