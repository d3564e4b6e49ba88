"""What a process that reads faces has to load, as plain values that reach it from another one."""

from dataclasses import dataclass

from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.choices import Backend, Crop, Device
from emonet_deploy.runtime.detection.base import Detector
from emonet_deploy.runtime.detection.load import load_detector

__all__ = ["ModelAndDetector"]


@dataclass(frozen=True)
class ModelAndDetector:
    """A model, a detector, and how what it finds becomes a crop.

    A session cannot be sent to another process, but this can be: it is loaded there.

    Attributes:
        model: an artifact, or the address of a served one; see ``load_session`` for ``backend``,
            ``device`` and ``threads`` as well.
        batch: how many faces run at once.
        detector: see ``load_detector``, for ``detector_model``, ``detect_size`` and ``min_score``
            as well.
        crop: how a box becomes a crop.
    """

    model: str
    backend: Backend | None = None
    device: Device = "auto"
    threads: int | None = None
    batch: int = 8
    detector: str = "auto"
    detector_model: str | None = None
    detect_size: int | None = None
    min_score: float = 0.4
    crop: Crop = "paper"

    def load_session(self) -> Session:
        """Load the model; see ``load_session``."""
        return load_session(self.model, self.backend, self.device, self.threads)

    def load_detector(self) -> Detector:
        """Load the detector; see ``load_detector``."""
        return load_detector(
            self.detector,
            model=self.detector_model,
            size=self.detect_size,
            min_score=self.min_score,
        )
