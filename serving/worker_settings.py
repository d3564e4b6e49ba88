"""What a worker of ``emonet serve`` has to know, and how it gets to know it."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Final, Self

from emonet_deploy.runtime.pipeline.model_and_detector import ModelAndDetector

__all__ = ["CROP_ROUTE", "FACES_ROUTE", "Settings"]

FACES_ROUTE: Final = "/v1/faces"
CROP_ROUTE: Final = "/v1/crop"

_VARIABLE: Final = "EMONET_SERVE"


@dataclass(frozen=True)
class Settings(ModelAndDetector):
    """What a worker has to know; see ``ModelAndDetector``.

    Attributes:
        access_log: write a line of JSON for each request to standard output.
    """

    access_log: bool = True

    def environment(self) -> dict[str, str]:
        """Return the environment in which a worker finds these settings."""
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def of_environment(cls) -> Self:
        """Return the settings this process was started with."""
        return cls(**json.loads(os.environ[_VARIABLE]))
