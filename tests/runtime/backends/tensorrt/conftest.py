"""Machines with a pretended GPU."""

import pytest
from helpers.api_surface import TENSORRT
from helpers.gpu_world import World

from emonet_deploy.runtime.backends.tensorrt import cuda


@pytest.fixture(params=TENSORRT)
def world(request, tmp_path, monkeypatch):
    yield World(request.param, tmp_path, monkeypatch)
    cuda.open_gpu.cache_clear()


@pytest.fixture
def world_11(tmp_path, monkeypatch):
    yield World("tensorrt-11.4", tmp_path, monkeypatch)
    cuda.open_gpu.cache_clear()


@pytest.fixture
def world_rtx(tmp_path, monkeypatch):
    yield World("tensorrt_rtx-1.7", tmp_path, monkeypatch)
    cuda.open_gpu.cache_clear()
