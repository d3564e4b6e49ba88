"""Rows of speed, of a session that answers at once on a card that is pretended."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers.fake_session import FakeSession

from emonet_deploy.benchmarks.gpu import speed
from emonet_deploy.benchmarks.gpu.stage import Record

HEADS = ("expression", "valence", "arousal")


class Noting(FakeSession):
    """Remembers which outputs were wanted."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.wanted = set()

    def _run_for(self, images, names):
        self.wanted.add((len(images), tuple(names)))
        return super()._run_for(images, names)


class Engine(Noting):
    backend = "trt"


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "speed.json")


def test_a_row_for_each_batch_size(record):
    session = Noting()
    speed.measure_speed(record, "onnx", session, (1, 3), 0.0, 7, precision="fp16")
    assert [(row["name"], row["batch"], row["precision"]) for row in record.rows] == [
        ("onnx", 1, "fp16"),
        ("onnx", 3, "fp16"),
    ]
    for row in record.rows:
        assert row["n"] == 7
        assert row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["throughput"] == pytest.approx(1000 * row["batch"] / row["p50_ms"])
        assert set(row["throughput_by_threads"]) == {"1", "2", "4"}
        assert row["gpu_ms"] is row["copy_ms"] is row["clock_mhz"] is None  # no engine, no card
        assert "repeated" not in row


@pytest.mark.parametrize(
    ("interface", "wanted"), [("tensor", HEADS), ("image", ("probabilities", *HEADS[1:]))]
)
def test_of_what_is_timed_heatmaps_are_no_part(record, interface, wanted, monkeypatch):
    monkeypatch.setattr(speed, "throughput_by_threads", lambda *_: {})
    session = Noting(interface=interface)
    speed.measure_speed(record, "x", session, (2,), 0.0, 1)
    ((size, names),) = session.wanted
    assert size == 2
    assert set(wanted) <= set(names)
    assert "heatmap" not in names


@pytest.mark.parametrize(
    ("kind", "max_batch", "measured"),
    [(Engine, 2, [1, 2]), (Engine, None, [1, 2, 3]), (Noting, 2, [1, 2, 3])],
)
def test_an_engine_is_not_measured_beyond_its_largest_batch(record, kind, max_batch, measured):
    speed.measure_speed(record, "x", kind(max_batch=max_batch), (1, 2, 3), 0.0, 1)
    assert [row["batch"] for row in record.rows] == measured


def test_a_size_that_fails_is_a_row_and_the_next_is_measured(record):
    class Full(Noting):
        def _run(self, images):
            if len(images) == 2:
                raise MemoryError("out of memory")
            return super()._run(images)

    speed.measure_speed(record, "x", Full(), (1, 2, 3), 0.0, 1)
    assert [row.get("batch") for row in record.rows] == [1, None, 3]
    assert record.rows[1] == {"name": "x, batch 2", "failed": "out of memory"}


@pytest.mark.parametrize(
    ("highest", "clocks", "repeated"),
    [
        (2000, [999, 1900], True),
        (2000, [1000], False),
        (2000, [None], False),
        (None, [300], False),
    ],
)
def test_what_was_timed_while_the_card_rested_is_timed_again_once(
    record, monkeypatch, highest, clocks, repeated
):
    left = iter(clocks)
    monkeypatch.setattr(speed, "highest_sm_clock", lambda: highest)
    monkeypatch.setattr(speed, "sm_clock", lambda: next(left))
    speed.measure_speed(record, "x", Noting(), (1,), 0.0, 1)
    (row,) = record.rows
    assert row["clock_mhz"] == clocks[-1]
    assert row.get("repeated", False) is repeated
    assert list(left) == []


def test_both_ways_over_the_link_are_copies(record, monkeypatch):
    parts = SimpleNamespace(copy_in=1.0, compute=5.0, copy_out=0.5)
    monkeypatch.setattr(speed, "device_times", lambda *_: parts)
    speed.measure_speed(record, "x", Noting(), (1,), 0.0, 1)
    assert (record.rows[0]["gpu_ms"], record.rows[0]["copy_ms"]) == (5.0, 1.5)


def test_images_are_noise_over_the_whole_range_of_what_a_session_takes():
    floats = speed.sample_images(FakeSession(), 2)
    assert (floats.shape, floats.dtype) == ((2, 3, 256, 256), np.float32)
    assert floats.min() < 0.001
    assert 0.999 < floats.max() < 1
    pixels = speed.sample_images(FakeSession(interface="image"), 3)
    assert (pixels.shape, pixels.dtype) == ((3, 256, 256, 3), np.uint8)
    assert (pixels.min(), pixels.max()) == (0, 255)
    again = speed.sample_images(FakeSession(), 2, seed=0)
    assert np.array_equal(again, floats)
    assert not np.array_equal(speed.sample_images(FakeSession(), 2, seed=1), floats)
