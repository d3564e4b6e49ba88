"""The words that name a choice; they load nothing, so that the command line can offer them."""

from typing import Literal

__all__ = ["Calibrator", "PlanName"]

Calibrator = Literal["minmax", "entropy", "percentile"]
PlanName = Literal["measured", "generic"]
