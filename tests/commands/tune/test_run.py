from dataclasses import replace

import numpy as np
import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.benchmarks.speed.latency import Timing, time_in_turns
from emonet_deploy.commands.tune.run import Measuring, _open, merge, timer, tune_for
from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.runtime.tuning.configuration import Configuration, Measured
from emonet_deploy.runtime.tuning.machine import Machine
from emonet_deploy.runtime.tuning.record import TuningRecord


@pytest.fixture
def ways(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    one = Configuration("latency", "onnx", path.name, sha256_file(path), "fp32", "gpu", "tensor",
                        "cpu", 2, 1, "onnxruntime 1")  # fmt: skip
    return [one, replace(one, threads=1)]


def measuring(tmp_path, samples, said):
    """Time a way's calls as told, by its number of threads."""

    def recorded(calls, warmup, seconds, *, pause, rounds):
        return {way: Timing(samples[way.threads]) for way in calls}

    return Measuring(tmp_path, tmp_path / "w.pth", 1.0, recorded, said.append)


def test_the_quarter_and_the_median_are_kept_with_what_was_chosen_by(tmp_path, ways):
    said = []
    times = {2: (10.0, 20.0, 30.0, 40.0, 50.0), 1: (200.0,) * 5}
    rows, chosen = tune_for("latency", ways, [], measuring(tmp_path, times, said))
    assert chosen.configuration == ways[0]
    assert (chosen.p25_ms, chosen.p50_ms, chosen.n) == (20.0, 30.0, 5)
    assert rows[0] == chosen
    assert {row.date for row in rows} == {chosen.date}
    assert said[0] == "latency: 2 ways to measure"


@pytest.mark.parametrize(
    ("median", "busy"), [(20.0, False), (22.9, False), (23.0, False), (23.1, True)]
)
def test_a_busy_machine_is_told_by_the_median_over_the_quarter(tmp_path, ways, median, busy):
    known = [Measured(ways[0], 20.0, median, 9, True, "a")]
    said = []
    tune_for("latency", ways[:1], known, measuring(tmp_path, {}, said))
    assert any("kept the processors busy" in line for line in said) == busy
    assert said[0] == "latency: 0 ways to measure, 1 known from before"


def test_rows_of_ways_that_are_no_candidates_are_not_chosen(tmp_path, ways):
    known = [Measured(ways[1], 1.0, 1.0, 9, True, "a"), Measured(ways[0], 9.0, 9.0, 9, True, "a")]
    rows, chosen = tune_for("latency", ways[:1], known, measuring(tmp_path, {}, []))
    assert [row.configuration for row in rows] == ways[:1]
    assert chosen.p25_ms == 9.0


def test_rows_are_those_timed_to_the_end_by_speed_and_then_the_others(tmp_path, ways):
    more = [replace(ways[0], threads=n) for n in (3, 4)]
    known = [
        Measured(ways[0], 5.0, 5.0, 9, False, "a"),
        Measured(ways[1], 30.0, 30.0, 9, True, "a"),
        Measured(more[0], 20.0, 20.0, 9, True, "a"),
        Measured(more[1], 4.0, 4.0, 9, False, "a"),
    ]
    rows, chosen = tune_for("latency", [*ways, *more], known, measuring(tmp_path, {}, []))
    assert [row.p25_ms for row in rows] == [20.0, 30.0, 4.0, 5.0]
    assert chosen.p25_ms == 20.0


def test_a_way_is_timed_from_crops_to_results_with_its_batch(tmp_path, ways):
    crops = np.zeros((4, 256, 256, 3), np.uint8)
    how = measuring(tmp_path, {}, [])
    for batch in (1, 6):
        with _open(how, crops, replace(ways[0], batch=batch)) as call:
            assert len(call()["valence"]) == batch


def test_fresh_rows_replace_those_of_the_same_place_on_the_same_machine(ways):
    here = Machine.here()
    old = TuningRecord(
        8, "standin", here, tuple(Measured(way, 9.0, 9.0, 5, True, "a") for way in ways), {}
    )
    newer = Measured(replace(ways[0], sha256="1" * 64, libraries="x"), 7.0, 7.0, 5, True, "b")
    assert merge(old, [newer], here) == (newer, old.rows[1])
    assert merge(None, [newer], here) == (newer,)
    elsewhere = replace(here, processors=here.processors + 1)
    assert merge(old, [newer], elsewhere) == (newer,)
    for change in ({"threads": 7}, {"batch": 7}, {"purpose": "throughput"}, {"device": "cuda"},
                   {"file": "other"}, {"backend": "openvino"}):  # fmt: skip
        fresh = Measured(replace(ways[0], **change), 7.0, 7.0, 5, True, "b")
        assert merge(old, [fresh], here) == (fresh, *old.rows)


def test_a_processor_is_timed_in_turns_and_a_gpu_in_ten_times_as_many_bursts():
    assert timer(False) is time_in_turns
    calls = {"a": 0}

    def call():
        calls["a"] += 1

    found = timer(True)({"x": call}, 0, 0.001, pause=0, rounds=2)
    assert len(found["x"].samples) >= 20
