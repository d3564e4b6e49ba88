"""Run any artifact: NumPy in, NumPy out; torch is not needed."""

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
