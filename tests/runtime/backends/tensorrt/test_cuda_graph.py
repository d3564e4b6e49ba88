"""Sessions that run as CUDA graphs, on the pretended GPU of `gpu_world`."""

import pytest
from helpers.gpu_world import World, assert_same, images

from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.tensorrt import cuda


@pytest.fixture
def world(tmp_path, monkeypatch):
    world = World("tensorrt-11.4", tmp_path, monkeypatch)
    world.install_bindings()
    yield world
    cuda.open_gpu.cache_clear()


def test_a_graph_computes_the_same_and_is_captured_once_for_a_batch_size(world):
    path = world.build()
    with world.open(path, graph=True) as session, load_session(world.folder / "m.onnx") as plain:
        for n in (2, 2, 2, 2):
            assert_same(session.run(images(n, seed=n)), plain.run(images(n, seed=n)))
        assert world.gpu.log.count("cuStreamBeginCapture") == 1
        # The first run is plain: TensorRT defers work to it.
        assert world.gpu.log.count("cuGraphLaunch") == 3
        for n in (3, 3, 2, 3, 2):
            assert_same(session.run(images(n, seed=n)), plain.run(images(n, seed=n)))
        # A change of the size drops nothing: each has a context and a graph of its own.
        assert world.gpu.log.count("cuStreamBeginCapture") == 2
        assert world.gpu.alive["graph"] == 2
    world.assert_clean()


@pytest.mark.parametrize(
    "call", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate"]
)
def test_what_cannot_be_captured_runs_plainly(world, call):
    with world.open(world.build(), graph=True) as session:
        session.run(images(2))
        fail_at_next(world, call)
        with pytest.warns(UserWarning, match="without a CUDA graph: .*UNSUPPORTED"):
            session.run(images(2))
        assert_right(world, session)
        assert "cuGraphLaunch" not in world.gpu.log
    world.assert_clean()


def test_a_run_that_fails_while_it_is_captured_leaves_the_stream_usable(world):
    with world.open(world.build(), graph=True) as session:
        session.run(images(2))
        fail_at_next(world, "IExecutionContext.execute_async_v3")
        with pytest.warns(UserWarning, match="without a CUDA graph"):
            session.run(images(2))
        assert_right(world, session)
    world.assert_clean()


def test_a_launch_that_fails_is_an_error(world):
    with world.open(world.build(), graph=True) as session:
        session.run(images(2))
        fail_at_next(world, "cuGraphLaunch")
        with pytest.raises(BackendError, match="CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"):
            session.run(images(2))
    world.assert_clean()


def test_without_cuda_bindings_it_runs_plainly(tmp_path, monkeypatch):
    world = World("tensorrt-10.16", tmp_path, monkeypatch)
    with world.open(world.build(), graph=True) as session:
        want = session.run(images(2))
        with pytest.warns(UserWarning, match="pip install 'cuda-bindings"):
            assert_same(session.run(images(2)), want)
        assert_same(session.run(images(2)), want)
    cuda.open_gpu.cache_clear()


def test_rtx_captures_by_itself(tmp_path, monkeypatch):
    world = World("tensorrt_rtx-1.7", tmp_path, monkeypatch)
    world.install_bindings()
    chosen = []
    create = world.trt.ICudaEngine.create_execution_context

    def create_and_note(engine, config):
        chosen.append(config.cuda_graph_strategy)
        return create(engine, config)

    monkeypatch.setattr(world.trt.ICudaEngine, "create_execution_context", create_and_note)
    path = world.build()
    whole = world.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    for graph, expected in ((True, whole), (None, whole), (False, None)):
        chosen.clear()
        with world.open(path, graph=graph) as session:
            assert_same(session.run(images(2)), session.run(images(2)))
        assert set(chosen) == {expected}
    assert "cuStreamBeginCapture" not in world.gpu.log
    cuda.open_gpu.cache_clear()


def assert_right(world, session):
    with load_session(world.folder / "m.onnx") as plain:
        for seed in (1, 2, 3):
            assert_same(session.run(images(2, seed=seed)), plain.run(images(2, seed=seed)))


def fail_at_next(world, name):
    """Let the next call of a name fail, and that one only."""
    original = world.gpu.call

    def call(called):
        if called == name:
            world.gpu.call = original
            original(called)
            return True
        return original(called)

    world.gpu.call = call
