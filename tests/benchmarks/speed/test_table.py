from dataclasses import replace

from helpers.bench_rows import PEER, ROW

from emonet_deploy.benchmarks.speed.table import COLUMNS, bench_table, device_table
from emonet_deploy.runtime.backends.tensorrt.engine_runner import DeviceTimes


def test_the_table_has_a_cell_for_each_column_and_dashes_for_what_is_not_known():
    ours, peer = bench_table([ROW, PEER]).rows
    assert len(ours) == len(peer) == len(COLUMNS)
    assert ours[0] == "onnx (cpu)"
    assert peer[0] == "ncnn 1.0 <x>"
    assert peer[COLUMNS.index("size MB")] == "-"


def test_the_device_table_has_the_rows_that_know_their_times():
    timed = replace(ROW, backend="trt", device=DeviceTimes(0.1, 2.0, 0.25))
    assert device_table([ROW, timed]).rows == [
        ("trt", "fp32", 1, "0.100", "2.000", "0.250"),
    ]
