"""Runs that overlap, sizes that batches are rounded up to, outputs that are not copied."""

import threading

import pytest
from helpers.gpu_world import World, assert_same, images
from hypothesis import given
from hypothesis import strategies as st

from emonet_deploy.errors import BackendError, InputError
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.tensorrt import cuda
from emonet_deploy.runtime.backends.tensorrt.slot import batch_sizes


@pytest.fixture
def world(tmp_path, monkeypatch):
    world = World("tensorrt-11.4", tmp_path, monkeypatch)
    world.install_bindings()
    yield world
    cuda.open_gpu.cache_clear()


@given(st.integers(1, 300), st.integers(0, 300))
def test_at_most_a_third_of_a_run_is_filled_up(smallest, more):
    sizes = batch_sizes(smallest, smallest + more)
    assert (sizes[0], sizes[-1]) >= (smallest, smallest + more)
    assert list(sizes) == sorted(set(sizes))
    for n in range(smallest, smallest + more + 1):
        size = next(size for size in sizes if size >= n)
        assert 3 * (size - n) <= size


def test_only_the_outputs_asked_for_are_copied(world):
    path = world.build()
    with world.open(path) as session:
        everything = session.run(images(2))
        world.gpu.start()
        some = session.run(images(2), ["arousal", "valence"])
        assert world.gpu.log.count("memcpy_dtoh_async") == 2
        many = session.run(images(9), ["expression"])
        assert many["expression"].shape[0] == 9
        with pytest.raises(InputError, match="no output 'heat'; choose of heatmap"):
            session.run(images(2), ["heat"])
    assert list(some) == ["valence", "arousal"]
    assert_same(some, {name: everything[name] for name in some})


def test_a_large_batch_is_copied_while_its_first_part_computes(world):
    with (
        world.open(world.build(max_batch=4)) as session,
        load_session(world.folder / "m.onnx") as m,
    ):
        session.run(images(4))
        world.gpu.start()
        assert_same(session.run(images(11)), m.run(images(11)))
        steps = [s for s in world.gpu.log if s in {"memcpy_htod_async", "Stream.synchronize"}]
        # Two parts are under way before the first is waited for.
        assert steps[:3] == ["memcpy_htod_async", "memcpy_htod_async", "Stream.synchronize"]
        assert steps.count("memcpy_htod_async") == 3
    world.assert_clean()


def test_threads_with_large_batches_share_two_slots_without_waiting_for_ever(world):
    with (
        world.open(world.build(max_batch=2)) as session,
        load_session(world.folder / "m.onnx") as m,
    ):
        sizes = (1, 3, 7, 2, 9)
        want = {n: m.run(images(n, seed=n)) for n in sizes}
        wrong = []

        def work():
            try:
                for n in sizes:
                    assert_same(session.run(images(n, seed=n)), want[n])
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []
    world.assert_clean()


@pytest.mark.parametrize("call", ["memcpy_htod_async", "IExecutionContext.execute_async_v3"])
def test_a_part_that_fails_leaves_both_slots_usable(world, call):
    with world.open(world.build(max_batch=2), graph=False) as session:
        want = session.run(images(5))
        world.gpu.start()
        session.run(images(5))
        second = [i for i, name in enumerate(world.gpu.calls) if name == call][1]
        world.gpu.start(fail_at=second)
        with pytest.raises(Exception, match="failed"):
            session.run(images(5))
        world.gpu.start()
        for _ in range(3):
            assert_same(session.run(images(5)), want)
    world.assert_clean()


def test_the_device_is_timed_between_copy_run_and_copy(world):
    """By hand: the pretended clock stands still but for what the stream does."""
    with world.open(world.build(), graph=False) as session:
        session.run(images(2))
        world.gpu.start()
        times = session.measure(images(2))
        steps = [
            step for step in world.gpu.log
            if step == "Event.record" or step.startswith(("memcpy", "IExecutionContext.execute"))
        ]  # fmt: skip
        outputs = len(session.info.outputs)
        assert steps == [
            "Event.record", "memcpy_htod_async", "Event.record",
            "IExecutionContext.execute_async_v3", "Event.record",
            *["memcpy_dtoh_async"] * outputs, "Event.record",
        ]  # fmt: skip
        assert min(times.copy_in, times.compute, times.copy_out) >= 0
        # The same events serve again, and a usual run records none.
        world.gpu.start()
        session.measure(images(3))
        assert "Event" not in world.gpu.log
        world.gpu.start()
        session.run(images(2))
        assert "Event.record" not in world.gpu.log
        session.measure(images(4))
        with pytest.raises(InputError, match="4 images at once, not 5"):
            session.measure(images(5))
    with pytest.raises(BackendError, match="closed"):
        session.measure(images(2))
    world.assert_clean()


def test_what_fills_up_a_batch_is_black(world):
    """Whatever lay there before could be no number, and slow or spoil what is computed beside."""
    with world.open(world.build(max_batch=4, min_batch=3), graph=False) as session:
        session.run(images(4))
        copied = []
        driver = session._runner._gpu.driver
        original = driver.memcpy_htod_async

        def note(device, host, stream):
            copied.append(host.copy())
            return original(device, host, stream)

        driver.memcpy_htod_async = note
        try:
            session.run(images(1))
        finally:
            driver.memcpy_htod_async = original
    (batch,) = copied
    assert len(batch) == 3
    assert batch[0].any()
    assert not batch[1:].any()
