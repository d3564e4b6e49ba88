"""What bounds a device, measured on the processor by a clock that is told."""

from itertools import count
from types import SimpleNamespace

import pytest
import torch

from emonet_deploy.benchmarks.gpu import ceilings
from emonet_deploy.benchmarks.gpu.stage import LeftOutError, Record


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "ceilings.json")


def test_each_call_counts_what_it_moves_and_multiplies(record, monkeypatch):
    """Each reading of the clock is a second after the last, so that each call takes one."""
    ticks = count()
    monkeypatch.setattr(ceilings, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    ceilings.measure_ceilings(record, "cpu", size=64, seconds=0.5)
    assert not torch.backends.cuda.matmul.allow_tf32
    found = {row["name"]: (row["unit"], row["value"]) for row in record.rows}
    products = [f"matrix product {kind}" for kind in ("fp32", "tf32", "fp16", "int8")]
    copies = ["copy to the device", "copy from the device", "copy on the device"]
    assert list(found) == [*copies, *products]
    moved = 1 << 20  # of the 64 MiB, as many as 64 is of the 4096 of a GPU
    for name, bytes_moved in zip(copies, (moved, moved, 2 * moved), strict=True):
        assert found[name] == ("GB/s", pytest.approx(bytes_moved / 1e9))
    for name in products:  # each of 64 x 64 results takes 64 products and as many sums
        assert found[name] == ("TFLOPS", pytest.approx(64 * 64 * 128 / 1e12))


def test_the_best_of_the_calls_after_the_warm_up_counts(monkeypatch):
    now, calls = [0.0], []
    took = iter([0.1, 0.1, 0.05, 0.5, 0.25, 0.5, 0.5])

    def call():
        calls.append(now[0])
        now[0] += next(took)

    monkeypatch.setattr(ceilings, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    # A quarter of a second of warm-up is three calls, and three more take more than half a second.
    assert ceilings._best(call, lambda: None, 0.5) == 0.25
    assert len(calls) == 6


def test_three_calls_are_measured_however_long_they_take(monkeypatch):
    now = [0.0]

    def call():
        now[0] += 10

    monkeypatch.setattr(ceilings, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    assert ceilings._best(call, lambda: None, 1.0) == 10
    assert now[0] == 10 + 3 * 10


def test_the_wait_for_the_device_is_part_of_the_time(monkeypatch):
    now = [0.0]

    def wait():
        now[0] += 2

    monkeypatch.setattr(ceilings, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    assert ceilings._best(lambda: None, wait, 0.5) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(record):
    with pytest.raises(LeftOutError, match="sees no CUDA device"):
        ceilings.measure_ceilings(record, "cuda")
    assert record.rows == []
    ceilings.require_torch("cpu")
