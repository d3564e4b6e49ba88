"""Run any artifact: NumPy in, NumPy out; torch is not needed.

Each name is imported from its folder when it is first used: who wants only a session loads neither
OpenCV nor anything that draws.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from emonet_deploy.runtime.backends.registry import load_session
    from emonet_deploy.runtime.backends.session import Session
    from emonet_deploy.runtime.detection.load import load_detector
    from emonet_deploy.runtime.media.frame import Frame
    from emonet_deploy.runtime.media.video import VideoReader
    from emonet_deploy.runtime.metadata import ModelInfo, read_info
    from emonet_deploy.runtime.pipeline.pipeline import EmotionPipeline, FaceResult, FrameResult
    from emonet_deploy.runtime.pipeline.predictor import Prediction, Predictor
    from emonet_deploy.runtime.pipeline.smoothing import ExponentialSmoother, WindowSmoother
    from emonet_deploy.runtime.tracking.tracker import Tracker

__all__ = [
    "EmotionPipeline",
    "ExponentialSmoother",
    "FaceResult",
    "Frame",
    "FrameResult",
    "ModelInfo",
    "Prediction",
    "Predictor",
    "Session",
    "Tracker",
    "VideoReader",
    "WindowSmoother",
    "load_detector",
    "load_session",
    "read_info",
]

_LAZY: Final = {
    "EmotionPipeline": "emonet_deploy.runtime.pipeline.pipeline",
    "ExponentialSmoother": "emonet_deploy.runtime.pipeline.smoothing",
    "FaceResult": "emonet_deploy.runtime.pipeline.pipeline",
    "Frame": "emonet_deploy.runtime.media.frame",
    "FrameResult": "emonet_deploy.runtime.pipeline.pipeline",
    "ModelInfo": "emonet_deploy.runtime.metadata",
    "Prediction": "emonet_deploy.runtime.pipeline.predictor",
    "Predictor": "emonet_deploy.runtime.pipeline.predictor",
    "Session": "emonet_deploy.runtime.backends.session",
    "Tracker": "emonet_deploy.runtime.tracking.tracker",
    "VideoReader": "emonet_deploy.runtime.media.video",
    "WindowSmoother": "emonet_deploy.runtime.pipeline.smoothing",
    "load_detector": "emonet_deploy.runtime.detection.load",
    "load_session": "emonet_deploy.runtime.backends.registry",
    "read_info": "emonet_deploy.runtime.metadata",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
