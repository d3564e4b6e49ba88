"""Engines of TensorRT-RTX as sessions."""

import os
from typing import ClassVar

from emonet_deploy.runtime.backends.tensorrt.engine_runner import EngineRunner
from emonet_deploy.runtime.backends.tensorrt.library import EngineKind
from emonet_deploy.runtime.backends.tensorrt.rtx_engine_runner import RtxRunner
from emonet_deploy.runtime.backends.tensorrt.session import TensorRTSession
from emonet_deploy.runtime.choices import Backend, Device

__all__ = ["RtxSession", "open_session"]


class RtxSession(TensorRTSession):
    """An engine of TensorRT-RTX on any GPU it was built for."""

    backend: ClassVar[Backend] = "trt-rtx"
    _kind: ClassVar[EngineKind] = "trt-rtx"
    _runner_type: ClassVar[type[EngineRunner]] = RtxRunner


def open_session(
    path: str | os.PathLike[str], device: Device, threads: int | None, graph: bool | None
) -> RtxSession:
    """Load an engine of TensorRT-RTX; see ``load_session``."""
    return RtxSession(path, device, graph=graph)
