import pytest
from helpers.fake_session import FakeSession
from helpers.gpu_world import World, images

from emonet_deploy.benchmarks.speed.gpu_time_split import device_times
from emonet_deploy.runtime.backends.tensorrt import cuda
from emonet_deploy.runtime.backends.tensorrt.slot import DeviceTimes


@pytest.fixture
def session(tmp_path, monkeypatch):
    world = World("tensorrt-11.4", tmp_path, monkeypatch)
    with world.open(world.build(max_batch=2)) as session:
        yield session
    cuda.open_gpu.cache_clear()


def test_the_median_of_each_part_is_taken(session, monkeypatch):
    runs = iter([DeviceTimes(n, 10 + n, 100 - n) for n in (5, 1, 90, 2, 3)] * 20)
    monkeypatch.setattr(session, "measure", lambda images: next(runs))
    called = []
    monkeypatch.setattr(session, "run", called.append)
    assert device_times(session, images(1)) == DeviceTimes(3, 13, 97)
    assert len(called) >= 50  # a GPU that rested computes at a lower clock


def test_a_batch_over_the_largest_is_measured_in_part(session):
    assert device_times(session, images(3)) == device_times(session, images(2))


def test_other_backends_have_no_device_times():
    assert device_times(FakeSession(), images(1)) is None
