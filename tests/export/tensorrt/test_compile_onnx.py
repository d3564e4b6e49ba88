"""Builds on the pretended TensorRT of `gpu_world`: both packages, every call failing in turn."""

import json
import os

import pytest
from helpers.api_surface import TENSORRT
from helpers.fake_tensorrt import MAGIC
from helpers.gpu_world import World
from helpers.tiny_model import write_tiny

from emonet_deploy.errors import ExportError
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.export.tensorrt.options import BuildOptions
from emonet_deploy.runtime.backends.tensorrt import cuda
from emonet_deploy.runtime.metadata import read_info


@pytest.fixture(params=TENSORRT)
def world(request, tmp_path, monkeypatch):
    yield World(request.param, tmp_path, monkeypatch)
    cuda.open_gpu.cache_clear()


@pytest.fixture
def world_10(tmp_path, monkeypatch):
    yield World("tensorrt-10.16", tmp_path, monkeypatch)
    cuda.open_gpu.cache_clear()


def build(world, **options):
    sm = (86, 89) if world.kind == "trt-rtx" else ()
    options = BuildOptions(level=2, workspace_mib=64, sm=sm, **options)
    return build_engine(world.folder / "m.onnx", kind=world.kind, options=options)


def test_the_record_names_the_gpu_where_the_engine_is_bound_to_it(world):
    write_tiny(world.folder / "m.onnx")
    engine = build(world)
    record = read_info(engine.path).engine
    if world.kind == "trt":
        assert engine.path.name == "m.nvidia-l4.plan"
        assert (record.gpu, record.compute_capability) == ("NVIDIA L4", ("8.9",))
        assert record.driver == "13.0"
    else:
        assert engine.path.name == "m.rtx-sm86-sm89.plan"
        assert (record.gpu, record.compute_capability) == (None, ("8.6", "8.9"))


def test_float32_is_not_tf32(world):
    write_tiny(world.folder / "m.onnx")
    header, _, _ = build(world).path.read_bytes().partition(b"\n")
    assert json.loads(header.removeprefix(MAGIC))["flags"] == []


def test_layers_come_from_the_inspector(world_10):
    write_tiny(world_10.folder / "m.onnx")
    assert build(world_10).convolutions == {"first": "float", "second": "float"}


def test_whichever_call_fails_nothing_is_written(world):
    """Fail each call of a build in turn; the message has TensorRT's own words."""
    write_tiny(world.folder / "m.onnx")
    build(world)  # leaves the measurements
    world.gpu.start()
    path = build(world).path
    calls = list(world.gpu.calls)
    # Measurements cost time and nothing else.
    harmless = {"IBuilderConfig.create_timing_cache", "IBuilderConfig.set_timing_cache"}
    harmless |= {"IBuilderConfig.get_timing_cache", "ITimingCache.serialize"}
    for k, name in enumerate(calls):
        if name in harmless:
            continue
        path.write_bytes(b"an older engine")
        world.gpu.start(fail_at=k)
        with pytest.raises(ExportError) as caught:
            build(world)
        world.gpu.fail_at = None
        assert "injected" in str(caught.value) or "nullptr" in str(caught.value), name
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == b"an older engine"
        left = {"home", "m.onnx", path.name, f"{path.name}.json"}
        assert left.issuperset(os.listdir(world.folder))


def test_measurements_are_kept_and_used_again(world_10):
    write_tiny(world_10.folder / "m.onnx")
    build(world_10)
    (kept,) = (world_10.folder / "home" / "timing").iterdir()
    assert kept.name == "tensorrt-10.16.1.11-nvidia-l4.bin"
    assert kept.read_bytes() == b"measured"
    seen = []
    original = world_10.trt.IBuilderConfig.create_timing_cache

    def create(config, blob):
        seen.append(blob)
        return original(config, blob)

    world_10.trt.IBuilderConfig.create_timing_cache = create
    build(world_10)
    kept.write_bytes(b"of another version")
    build(world_10)
    assert seen == [b"measured", b"of another version", b""]
    assert kept.read_bytes() == b"measured"


def test_an_engine_is_not_lost_when_the_measurements_cannot_be_kept(world_10):
    write_tiny(world_10.folder / "m.onnx")
    (world_10.folder / "home").write_text("a file where the cache folder should be")
    assert build(world_10).path.is_file()


def test_rtx_keeps_no_measurements(tmp_path, monkeypatch):
    """Its builder would look for a GPU."""
    world = World(TENSORRT[2], tmp_path, monkeypatch)
    write_tiny(tmp_path / "m.onnx")
    build(world)
    assert not (tmp_path / "home").exists()
    assert not any("timing" in call for call in world.gpu.log)
