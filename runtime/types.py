"""The arrays that travel, and the words that name a choice."""

from typing import Any

from numpy.typing import NDArray

from emonet_deploy.runtime.choices import Backend, Crop, Device, Interface, Precision, Target

__all__ = ["Array", "Backend", "Crop", "Device", "Interface", "Precision", "Target"]

Array = NDArray[Any]
