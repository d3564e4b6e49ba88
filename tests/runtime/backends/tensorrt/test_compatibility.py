"""Which engine runs where, and what is advised where it does not."""

import shlex
from dataclasses import replace

import pytest
from helpers.gpu_world import L4, load_error
from helpers.tiny_model import write_tiny

from emonet_deploy.errors import BackendError
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.export.tensorrt.options import BuildOptions
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.tensorrt import compatibility
from emonet_deploy.runtime.hardware import rtx_targets
from emonet_deploy.runtime.hardware.gpu import CudaDevice
from emonet_deploy.runtime.metadata import read_info, write_info


@pytest.mark.parametrize(
    ("card", "precision"), [("8.7", "fp32"), ("9.0", "fp32"), ("10.0", "fp32"), ("7.5", "int8")]
)
def test_where_tensorrt_rtx_does_not_run_the_advice_is_tensorrt(world_rtx, card, precision):
    """Hopper, Jetson Orin, data-centre Blackwell; and Turing, for which it has no int8."""
    path = world_rtx.build()
    if precision == "int8":
        write_info(path, replace(read_info(path), precision="int8"))
    world_rtx.card(CudaDevice("some GPU", card, "13.0"))
    info = read_info(path)
    found = compatibility.rebuild_command(path, info, CudaDevice("some GPU", card, "13.0"))
    program, *arguments = shlex.split(found)
    given = dict(zip(arguments[2::2], arguments[3::2], strict=True))
    assert (program, given["--engine"]) == ("emonet", "trt")
    assert {"--sm", "--out"}.isdisjoint(given)
    if precision == "fp32":
        assert "is none that TensorRT-RTX runs on" in load_error(world_rtx, path, BackendError)


@pytest.mark.parametrize("target", rtx_targets.RTX_CAPABILITIES)
def test_every_gpu_tensorrt_rtx_is_for_gets_a_command_that_builds_for_it(world_rtx, target):
    path = world_rtx.build()
    gpu = CudaDevice("some GPU", target, "13.0")
    arguments = shlex.split(compatibility.rebuild_command(path, read_info(path), gpu))
    if "--sm" in arguments:
        sm = int(arguments[arguments.index("--sm") + 1])
        BuildOptions(sm=(sm,)).check("trt-rtx")
        assert sm == int(target.replace(".", ""))
    else:
        assert rtx_targets.rtx_covers((), target)


def test_an_engine_for_many_gpus_runs_on_them(world_11):
    model = write_tiny(world_11.folder / "m.onnx")
    for level, runs, refused in (
        ("same", ("8.9",), ("8.6", "9.0", "7.5")),
        ("ampere", ("8.9", "8.6", "9.0", "12.0"), ("7.5",)),
    ):
        options = BuildOptions(max_batch=2, hardware_compatibility=level)
        world_11.card(L4)
        path = build_engine(model, kind="trt", options=options).path
        for card in runs:
            world_11.card(CudaDevice("another GPU", card, "13.0"))
            load_session(path).close()
        for card in refused:
            world_11.card(CudaDevice("another GPU", card, "13.0"))
            assert f"--hardware-compatibility {level}" in load_error(world_11, path)


def test_an_engine_for_later_versions_runs_on_them_and_no_others(world_11):
    model = write_tiny(world_11.folder / "m.onnx")
    options = BuildOptions(max_batch=2, version_compatible=True)
    path = build_engine(model, kind="trt", options=options).path
    for version, runs in (("11.4.0.106", 1), ("11.9.0.1", 1), ("11.3.9", 0), ("12.0.0.1", 0)):
        world_11.trt.__version__ = version
        if runs:
            load_session(path).close()
        else:
            assert "--version-compatible" in load_error(world_11, path)
