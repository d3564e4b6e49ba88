from dataclasses import replace

from helpers.bench_rows import PEER, ROW

from emonet_deploy.benchmarks.speed.table import (
    COLUMNS,
    bench_table,
    device_table,
    disturbed,
    label,
    one_row,
    verdicts,
)
from emonet_deploy.runtime.backends.tensorrt.engine_runner import DeviceTimes


def test_the_table_has_a_cell_for_each_column_and_dashes_for_what_is_not_known():
    ours, peer = bench_table([ROW, PEER]).rows
    assert len(ours) == len(peer) == len(COLUMNS)
    assert ours[0] == "onnx (cpu)"
    assert peer[0] == "ncnn 1.0 <x>"
    assert peer[COLUMNS.index("size MB")] == "-"


def test_the_device_table_has_the_rows_that_know_their_times():
    timed = replace(
        ROW, backend="trt", target="gpu", device=DeviceTimes(0.1, 2.0, 0.25), clock_mhz=1980,
        megabytes=245.4, kernels=231, throughput_by_threads={"1": 900.0, "2": 1000.0, "4": 1010.0},
    )  # fmt: skip
    table = device_table([ROW, timed])
    assert len(table.columns) == len(table.rows[0])
    assert table.rows == [
        ("trt", "fp32", "1", "0.100", "2.000", "0.250", "245", "231", "1980", "900", "1000", "1010")
    ]


def test_int8_that_is_no_faster_on_a_gpu_is_said_in_words():
    half = replace(ROW, backend="trt", target="gpu", precision="fp16", p50_ms=0.7)
    half = replace(half, throughput_by_threads={"1": 1400.0})
    slow, fast = (replace(half, precision="int8", p50_ms=ms) for ms in (0.75, 0.5))
    (sentence,) = verdicts([ROW, half, slow])
    assert sentence == (
        "trt, batch 1: int8 is no faster than fp16 here (0.75 ms and 0.70 ms); use fp16"
    )
    assert verdicts([half, fast]) == []
    assert verdicts([replace(row, throughput_by_threads=None) for row in (half, slow)]) == []


def test_a_peer_below_its_precisions_gates_is_said_in_words():
    close = replace(PEER, precision="int8", ccc_valence=0.995, ccc_arousal=0.991, agreement=0.92)
    far = replace(close, ccc_arousal=0.012)
    other = replace(close, agreement=0.88)
    assert verdicts([PEER, close]) == []
    assert verdicts([replace(far, backend="onnx")]) == []  # an artifact has passed its gates
    (sentence,) = verdicts([far, replace(far, batch=8)])
    assert sentence == (
        "ncnn 1.0 <x> is below the gates of int8, and its speed that of another result: "
        "CCC 0.0120 (gate 0.99), equal classes 92.0% (gate 90%)"
    )
    assert "equal classes 88.0% (gate 90%)" in verdicts([other])[0]
    for axis in ("ccc_valence", "ccc_arousal"):
        assert "CCC 0.0000" in verdicts([replace(close, **{axis: None})])[0]


def test_times_that_scatter_in_most_rows_are_told():
    calm = replace(ROW, p50_ms=10.0, p95_ms=19.9)
    busy = replace(ROW, p50_ms=10.0, p95_ms=20.0)
    assert disturbed([]) is None
    assert disturbed([calm, busy]) is None
    assert disturbed([calm, busy, busy]).startswith("in 2 of 3 rows p95 is 2 times p50 or more")


def test_each_figure_stands_in_its_column():
    assert dict(zip(COLUMNS, *bench_table([ROW]).rows, strict=True)) == {
        "engine": "onnx (cpu)", "precision": "fp32", "threads": "2", "batch": "1",
        "p50 ms": "140.0", "p95 ms": "150.0", "images/s": "7.14", "speed-up": "2.20",
        "GMAC": "6.8", "of peak": "50%", "RSS MB": "400", "start ms": "900", "size MB": "56.4",
        "equal classes": "100.0%", "CCC v": "1.00000", "CCC a": "1.00000",
    }  # fmt: skip


def test_a_row_is_called_by_what_runs_it():
    assert [label(row) for row in (ROW, PEER, replace(ROW, target="gpu"))] == [
        "onnx (cpu)",
        "ncnn 1.0 <x>",
        "onnx",
    ]
    assert one_row(ROW) == (
        "onnx (cpu) fp32, batch 1: 140.0 ms, 7.1 images/s, 2.20 times the reference"
    )


def test_what_is_timed_by_threads_alone_has_a_line_without_parts():
    row = replace(ROW, backend="onnx", target="gpu", throughput_by_threads={"1": 900.0})
    (cells,) = device_table([row, replace(row, throughput_by_threads=None)]).rows
    assert cells == ("onnx", "fp32", "1", *["-"] * 6, "900", "-", "-")


def test_int8_is_held_against_fp16_of_the_same_engine_and_batch():
    half = replace(
        ROW, backend="trt", target="gpu", precision="fp16", p50_ms=0.7,
        throughput_by_threads={"1": 1.0},
    )  # fmt: skip
    even = replace(half, precision="int8")
    assert len(verdicts([half, even])) == 1
    for other in (replace(half, batch=2), replace(half, backend="onnx"), replace(half, p50_ms=0.8)):
        assert verdicts([other, even]) == []
    assert verdicts([replace(half, precision="fp32"), even]) == []
    assert verdicts([half, half]) == []


def test_a_peer_at_its_gates_has_reached_them():
    at = replace(PEER, precision="int8", ccc_valence=0.99, ccc_arousal=0.99, agreement=0.9)
    assert verdicts([at]) == []
    for below in ({"ccc_valence": 0.9899}, {"ccc_arousal": 0.9899}, {"agreement": 0.899}):
        assert len(verdicts([replace(at, **below)])) == 1
