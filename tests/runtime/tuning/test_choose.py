"""Choices on recorded times: nothing here runs a model or looks at a clock."""

from dataclasses import replace

import pytest

from emonet_deploy.runtime.tuning.choose import choose
from emonet_deploy.runtime.tuning.configuration import Configuration, Measured, Wanted

WAY = Configuration(
    purpose="latency", backend="onnx", file="emonet_8.fp32.onnx", sha256="0" * 64,
    precision="fp32", target="gpu", interface="tensor", device="cpu", threads=2, batch=1,
    libraries="onnxruntime 1.31.1",
)  # fmt: skip


def row(p50_ms, final=True, **changes):
    return Measured(replace(WAY, **changes), p50_ms, p50_ms, 9, final, "2026-01-01T00:00:00+00:00")


# What issue reports name of a Zen 5: the file for CPUs lost on two threads, and won on one.
ZEN5_TWO = [
    row(82.0),
    row(104.0, target="cpu"),
    row(82.5, backend="openvino"),
    row(92.0, backend="openvino", target="cpu"),
]
ZEN5_ONE = [replace(r, configuration=replace(r.configuration, threads=1)) for r in ZEN5_TWO]


def test_the_plain_file_is_chosen_where_the_rewritten_one_is_slower():
    assert choose(ZEN5_TWO) == ZEN5_TWO[0]


def test_the_rewritten_file_is_chosen_where_it_is_faster():
    rows = [
        replace(r, p25_ms=ms, p50_ms=ms)
        for r, ms in zip(ZEN5_ONE, (147.0, 136.0, 142.0, 96.0), strict=True)
    ]
    best = choose(rows)
    assert (best.configuration.backend, best.configuration.target) == ("openvino", "cpu")


def test_int8_is_chosen_when_it_is_among_the_rows_and_faster():
    int8 = row(57.0, backend="openvino", precision="int8")
    assert choose([*ZEN5_TWO, int8]) == int8


def test_what_was_dropped_early_never_wins_over_what_was_timed_to_the_end():
    lucky = row(50.0, final=False, backend="torch")
    assert choose([*ZEN5_TWO, lucky]) == ZEN5_TWO[0]
    assert choose([lucky]) == lucky


def test_a_tie_goes_to_the_more_exact_the_fewer_threads_and_the_plain_file():
    assert choose([row(100.0, precision="int8"), row(100.9)]).configuration.precision == "fp32"
    assert choose([row(100.0), row(100.9, threads=1)]).configuration.threads == 1
    assert choose([row(100.0, threads=1), row(100.9, threads=None)]).configuration.threads is None
    assert choose([row(100.0, target="cpu"), row(100.9)]).configuration.target == "gpu"
    assert choose([row(100.0, precision="int8"), row(101.0)]).configuration.precision == "fp32"
    assert choose([row(100.0, target="cpu"), row(101.5)]).configuration.target == "cpu"


def test_images_count_not_runs():
    single, batch = row(100.0), row(350.0, batch=4)
    assert choose([single, batch]) == batch
    assert batch.images_per_second == pytest.approx(4 / 0.35)


def test_runs_that_other_processes_delayed_do_not_decide():
    """Recorded on two processors at a load of eight."""
    delayed, other = replace(row(229.0), p50_ms=900.0), replace(row(281.0), p50_ms=620.0)
    assert choose([delayed, other]) == delayed


def test_of_nothing_nothing_is_chosen():
    assert choose([]) is None


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Wanted(), True),
        (Wanted(precision="fp32", target="gpu", device="cpu", threads=2), True),
        (Wanted(precision="int8"), False),
        (Wanted(target="cpu"), False),
        (Wanted(device="cuda"), False),
        (Wanted(threads=1), False),
    ],
)
def test_what_is_wanted_is_told_from_what_is_not(wanted, fits):
    assert wanted.allows(WAY) is fits


def test_a_way_is_told_in_a_few_words():
    assert str(WAY) == "onnx on emonet_8.fp32.onnx, 2 threads, batch 1"
    on_gpu = replace(WAY, backend="torch", file="", threads=None, batch=8)
    assert str(on_gpu) == "torch on the checkpoint, batch 8"
