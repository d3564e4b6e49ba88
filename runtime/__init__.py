"""Run any artifact: NumPy in, NumPy out; torch is not needed."""

from emonet_deploy.runtime.artifact import ModelInfo, read_info
from emonet_deploy.runtime.detect import load_detector
from emonet_deploy.runtime.frames import Frame
from emonet_deploy.runtime.pipeline import EmotionPipeline, FaceResult, FrameResult
from emonet_deploy.runtime.predictor import Prediction, Predictor
from emonet_deploy.runtime.session import Session, load_session
from emonet_deploy.runtime.smooth import ExponentialSmoother, WindowSmoother
from emonet_deploy.runtime.track import Tracker
from emonet_deploy.runtime.video import VideoReader

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
