"""What a worker of ``emonet serve`` has to know, and how it gets to know it."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Final, Self

from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.choices import (
    Backend,
    Crop,
    Device,
)
from emonet_deploy.runtime.detection.base import Detector
from emonet_deploy.runtime.detection.load import load_detector

__all__ = ["CROP_ROUTE", "FACES_ROUTE", "Settings"]

FACES_ROUTE: Final = "/v1/faces"
CROP_ROUTE: Final = "/v1/crop"

_VARIABLE: Final = "EMONET_SERVE"


@dataclass(frozen=True)
class Settings:
    """What a worker has to know.

    Attributes:
        model: an artifact, or the address of a served one; see ``load_session`` for ``backend``,
            ``device`` and ``threads`` as well.
        batch: how many faces run at once.
        detector: see ``load_detector``, for ``detector_model``, ``detect_size`` and ``min_score``
            as well.
        crop: how a box becomes a crop.
        access_log: write a line of JSON for each request to standard output.
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
    access_log: bool = True

    def environment(self) -> dict[str, str]:
        """Return the environment in which a worker finds these settings."""
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def of_environment(cls) -> Self:
        """Return the settings this process was started with."""
        return cls(**json.loads(os.environ[_VARIABLE]))

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
