"""Run any artifact: NumPy in, NumPy out; torch is not needed.

Its parts are imported when they are first used, so that each loads what it needs and no more.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emonet_deploy.runtime.backends.base import Session
    from emonet_deploy.runtime.backends.registry import load_session
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

_MODULES = {
    "backends.base": ("Session",),
    "backends.registry": ("load_session",),
    "detection.load": ("load_detector",),
    "media.frame": ("Frame",),
    "media.video": ("VideoReader",),
    "metadata": ("ModelInfo", "read_info"),
    "pipeline.pipeline": ("EmotionPipeline", "FaceResult", "FrameResult"),
    "pipeline.predictor": ("Prediction", "Predictor"),
    "pipeline.smoothing": ("ExponentialSmoother", "WindowSmoother"),
    "tracking.tracker": ("Tracker",),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
