"""Run any artifact: NumPy in, NumPy out; torch is not needed."""

from emonet_deploy.runtime.artifact import ModelInfo, read_info
from emonet_deploy.runtime.predictor import Prediction, Predictor
from emonet_deploy.runtime.session import Session, load_session

__all__ = ["ModelInfo", "Prediction", "Predictor", "Session", "load_session", "read_info"]
