"""Which rewrite is chosen, on recorded times."""

from types import SimpleNamespace

import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.benchmarks.speed.latency import Timing
from emonet_deploy.benchmarks.tuning import rewrites
from emonet_deploy.benchmarks.tuning.rewrites import choose_rewrite, choose_tiles, time_models
from emonet_deploy.runtime.backends.onnxruntime import cpu_session


def test_a_tile_is_chosen_only_where_it_is_faster_than_the_convolution():
    times = {
        "large": {0: 10.0, 4: 7.0, 6: 5.0},
        "small": {0: 1.0, 4: 0.7, 6: 0.9},
        "no gain": {0: 1.0, 4: 1.5, 6: 2.0},
        "noise": {0: 1.0, 4: 0.99, 6: 0.98},
        "just": {0: 100.0, 4: 97.0, 6: 98.0},
    }
    assert choose_tiles(times) == {"large": 6, "small": 4, "just": 4}
    assert choose_tiles({}) == {}


def test_a_graph_may_take_as_much_longer_as_noise_does_and_no_more():
    fast = {"plain": 100.0, "measured": 50.0}
    assert choose_rewrite({1: {"plain": 100.0, "measured": 103.0}, 2: fast}) == "measured"
    assert choose_rewrite({1: {"plain": 100.0, "measured": 103.1}, 2: fast}) == "plain"


@pytest.mark.parametrize(
    ("one", "two", "chosen"),
    [
        # Zen 5: no gain on one thread that would make up for the loss on two.
        ({"plain": 147, "generic": 136}, {"plain": 82, "generic": 104}, "plain"),
        # An EPYC with VNNI, one thread and two that share a cache.
        ({"plain": 315, "generic": 210}, {"plain": 165, "generic": 115}, "generic"),
        # Slower by noise on one, faster on two.
        ({"plain": 100, "measured": 102}, {"plain": 100, "measured": 80}, "measured"),
        ({"plain": 100, "measured": 104}, {"plain": 100, "measured": 80}, "plain"),
        (
            {"plain": 100, "measured": 70, "generic": 72},
            {"plain": 60, "measured": 50, "generic": 40},
            "generic",
        ),
    ],
)
def test_a_graph_that_is_slower_than_the_plain_one_is_never_chosen(one, two, chosen):
    assert choose_rewrite({1: one, 2: two}) == chosen


def test_models_are_timed_under_their_names(tmp_path):
    models = {name: write_tiny(tmp_path / f"{name}.onnx").read_bytes() for name in ("a", "b")}
    times = time_models(models, 1, rounds=2)
    assert set(times) == {"a", "b"}
    assert min(times.values()) > 0


@pytest.fixture
def sessions(monkeypatch):
    """Every session that is opened, with the shapes that it ran."""
    opened = []

    def opening(content, threads):
        session = cpu_session(content, threads)
        shapes = []
        opened.append((session, threads, shapes))

        def run(names, feeds):
            shapes.append([values.shape for values in feeds.values()])
            return session.run(names, feeds)

        return SimpleNamespace(run=run, get_inputs=session.get_inputs)

    monkeypatch.setattr(rewrites, "cpu_session", opening)
    return opened


def test_one_image_runs_warm_and_then_each_round(tmp_path, sessions):
    content = write_tiny(tmp_path / "tiny.onnx").read_bytes()
    time_models({"a": content, "b": content}, 2, rounds=3)
    for session, threads, shapes in sessions:
        assert threads == session.get_session_options().intra_op_num_threads == 2
        assert shapes == [[(1, 3, 256, 256)]] * (2 + 3)
    sessions.clear()
    time_models({"a": content}, 1)
    assert len(sessions[0][2]) == 2 + 15  # unless told otherwise, and in no time more


def test_a_busy_machine_hardly_changes_what_counts(tmp_path, monkeypatch):
    timing = Timing(tuple(map(float, range(76))) + (1e6,) * 25)
    monkeypatch.setattr(rewrites, "time_in_turns", lambda calls, *_, **__: {"a": timing})
    assert time_models({"a": write_tiny(tmp_path / "a.onnx").read_bytes()}, 1) == {"a": 25.0}
