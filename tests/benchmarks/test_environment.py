import json
import platform
from importlib import metadata

import pytest

from emonet_deploy import __version__
from emonet_deploy.benchmarks import environment as module
from emonet_deploy.benchmarks.environment import describe_environment


def test_the_environment_is_json_without_gaps(monkeypatch):
    # In a container that may use three of many.
    monkeypatch.setattr("emonet_deploy.benchmarks.environment.usable_processors", lambda: 3)
    environment = json.loads(json.dumps(describe_environment(), allow_nan=False))
    assert environment["cores"] == 3
    assert environment["packages"]["numpy"]
    assert environment["cpu"]


def test_versions_are_those_installed_and_what_is_not_is_left_out():
    found = describe_environment()
    assert found["toolkit"] == __version__
    assert found["python"] == platform.python_version()
    for name in ("numpy", "onnx", "torch"):
        assert found["packages"][name] == metadata.version(name)
    assert None not in found["packages"].values()


@pytest.mark.parametrize(("devices", "gpu"), [(0, None), (1, {"name": "a card"})])
def test_a_gpu_is_described_where_there_is_one(monkeypatch, devices, gpu):
    monkeypatch.setattr(module, "cuda_device_count", lambda: devices)
    monkeypatch.setattr(module, "describe_gpu", lambda: {"name": "a card"})
    monkeypatch.setattr(module.os, "getloadavg", lambda: (0.5, 7.0, 9.0))
    found = describe_environment()
    assert (found["cuda_devices"], found["gpu"]) == (devices, gpu)
    assert found["load"] == 0.5  # of the last minute
