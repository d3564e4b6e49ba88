"""A real photograph of a face for the demo: scikit-image's astronaut, cropped."""

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write

__all__ = ["astronaut_face"]


def astronaut_face() -> NDArray[np.uint8]:
    """Return Eileen Collins's face, uint8 RGB 164 x 164 (NASA, public domain)."""
    with needs("photograph", "get the photograph"):
        from skimage import data
    picture: NDArray[np.uint8] = np.asarray(data.astronaut())  # type: ignore[no-untyped-call]
    return picture[43:207, 144:308]


if __name__ == "__main__":
    with atomic_write(Path(sys.argv[1])) as path:
        cv2.imwrite(str(path), cv2.cvtColor(astronaut_face(), cv2.COLOR_RGB2BGR))
    print(sys.argv[1])
