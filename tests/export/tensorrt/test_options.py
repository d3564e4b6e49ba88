from pathlib import Path

import pytest

from emonet_deploy.errors import InputError
from emonet_deploy.export.tensorrt.options import RTX_TARGETS, BuildOptions, engine_name
from emonet_deploy.runtime.hardware.gpu import CudaDevice

L4 = CudaDevice("NVIDIA L4", "8.9", "13.0")


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        ({}, (1, 32, 64)),
        ({"optimize": "latency"}, (1, 1, 1)),
        ({"max_batch": 128}, (1, 32, 128)),
        ({"max_batch": 16}, (1, 16, 16)),
        ({"opt_batch": 8}, (1, 8, 64)),
        ({"opt_batch": 100}, (1, 100, 100)),
        ({"min_batch": 80}, (80, 80, 80)),
        ({"min_batch": 40}, (40, 40, 64)),
        ({"min_batch": 4, "opt_batch": 6, "max_batch": 8}, (4, 6, 8)),
        ({"optimize": "latency", "max_batch": 4}, (1, 1, 4)),
        ({"optimize": "latency", "opt_batch": 4}, (1, 4, 4)),
        ({"optimize": "latency", "min_batch": 2}, (2, 2, 2)),
    ],
)
def test_batches_not_named_follow_from_those_that_are(options, batches):
    found = BuildOptions(**options)
    assert found.batches == batches
    found.check("trt")


@pytest.mark.parametrize(
    "options",
    [
        {"min_batch": 0}, {"max_batch": 0}, {"opt_batch": 0, "min_batch": 0},
        {"opt_batch": 9, "max_batch": 8}, {"min_batch": 9, "max_batch": 8}, {"max_batch": -1},
    ],
)  # fmt: skip
def test_batches_that_do_not_follow_each_other_are_refused(options):
    with pytest.raises(InputError, match="1 <= smallest <= fastest <= largest"):
        BuildOptions(**options).check("trt")


@pytest.mark.parametrize(
    ("taken", "refused", "words"),
    [
        ({"level": 0}, {"level": -1}, "level is 0 to 5"),
        ({"level": 5}, {"level": 6}, "level is 0 to 5"),
        ({"workspace_mib": 1}, {"workspace_mib": 0}, "at least 1 MiB"),
    ],
)
def test_numbers_are_taken_up_to_their_limits(taken, refused, words):
    for kind in ("trt", "trt-rtx"):
        BuildOptions(**taken).check(kind)
        with pytest.raises(InputError, match=words):
            BuildOptions(**refused).check(kind)


@pytest.mark.parametrize(
    ("options", "other", "words"),
    [
        ({"sm": (89,)}, "trt", "--sm is for trt-rtx"),
        ({"hardware_compatibility": "same"}, "trt-rtx", "are for trt"),
        ({"hardware_compatibility": "ampere"}, "trt-rtx", "are for trt"),
        ({"version_compatible": True}, "trt-rtx", "are for trt"),
    ],
)
def test_options_of_the_other_kind_are_refused(options, other, words):
    with pytest.raises(InputError, match=words):
        BuildOptions(**options).check(other)
    BuildOptions(**options).check({"trt": "trt-rtx", "trt-rtx": "trt"}[other])


def test_targets_are_known_and_named_once():
    BuildOptions(sm=RTX_TARGETS).check("trt-rtx")
    assert {75, 80, 86, 89, 120} <= set(RTX_TARGETS)
    with pytest.raises(InputError, match="no target 70"):
        BuildOptions(sm=(89, 70)).check("trt-rtx")
    with pytest.raises(InputError, match="names a target twice"):
        BuildOptions(sm=(89, 86, 89)).check("trt-rtx")


@pytest.mark.parametrize(
    ("options", "gpu", "name"),
    [
        ({}, L4, "emonet_8.fp16.nvidia-l4.plan"),
        ({"optimize": "latency"}, L4, "emonet_8.fp16.nvidia-l4.latency.plan"),
        ({}, None, "emonet_8.fp16.rtx.plan"),
        ({"sm": (89,)}, None, "emonet_8.fp16.rtx-sm89.plan"),
        ({"sm": (75, 120), "optimize": "latency"}, None,
         "emonet_8.fp16.rtx-sm75-sm120.latency.plan"),
    ],
)  # fmt: skip
def test_an_engine_is_called_after_its_model_and_what_it_is_for(options, gpu, name):
    path = Path("models") / "emonet_8.fp16.onnx"
    assert engine_name(path, BuildOptions(**options), gpu) == name
