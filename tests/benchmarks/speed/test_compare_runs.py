import json
from dataclasses import replace
from statistics import NormalDist

import pytest
from helpers.bench_rows import INT8, PEER, ROW

from emonet_deploy.benchmarks.speed.compare_runs import Change, change_table, changes_since
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


def test_noise_is_twice_the_standard_error_of_both_medians(tmp_path):
    """Of a normal distribution 90% lie below 1.2816 standard deviations above the median."""
    before = replace(ROW, p50_ms=100.0, p90_ms=110.0, n=25, speedup=2.0)
    now = replace(ROW, p50_ms=10.0, p90_ms=12.0, n=400, speedup=2.5)
    (change,) = changes_since(write(tmp_path / "old.json", before), [now])
    deviations = 0.10 / NormalDist().inv_cdf(0.9), 0.20 / NormalDist().inv_cdf(0.9)
    expected = 2 * deviations[0] / 5 + 2 * deviations[1] / 20
    assert change.noise == pytest.approx(expected, rel=2e-3)
    assert (change.before, change.ratio) == (2.0, 1.25)


@pytest.mark.parametrize(
    ("speedup", "noise", "verdict"),
    [
        (2.25, 0.125, "same"), (1.75, 0.125, "same"), (2.26, 0.125, "faster"),
        (1.74, 0.125, "slower"), (2.0, 0.0, "same"),
    ],
)  # fmt: skip
def test_a_change_of_just_the_noise_is_none(speedup, noise, verdict):
    row = replace(ROW, speedup=speedup, batch=4)
    assert change_table([Change(row, 2.0, noise)]).rows == [
        ("onnx (cpu)", "fp32", "4", "2.00", f"{speedup:.2f}", f"{noise:.1%}", verdict)
    ]


@pytest.mark.parametrize(
    "field", ["backend", "provider", "precision", "target", "threads", "batch"]
)
def test_rows_are_compared_with_those_of_the_same_kind_alone(tmp_path, field):
    other = replace(ROW, **{field: 7 if field in {"threads", "batch"} else "other"})
    assert changes_since(write(tmp_path / "old.json", other), [ROW]) == []


@pytest.mark.parametrize("changes", [{"n": 0}, {"p50_ms": 0}, {"speedup": None}, {"p90_ms": "x"}])
def test_a_row_that_cannot_have_been_measured_is_one_line(tmp_path, changes):
    old = tmp_path / "old.json"
    old.write_text(json.dumps({"rows": [ROW.to_dict() | changes]}))
    with pytest.raises(InputError, match="not a JSON result"):
        changes_since(old, [ROW])
