"""Which way up a face is, from the five points that face detectors give."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["quarter_turns"]

_TILT = 60.0  # Degrees; the network knows faces that are tilted less.
_LEAST = 0.15  # Of the box: eyes and mouth any closer say nothing.


def quarter_turns(points: ArrayLike, side: float) -> int:
    """Return by how many quarters a picture is turned clockwise for the face to be upright.

    Args:
        points: 5 x 2, x and y: two eyes, nose, two corners of the mouth, in any unit.
        side: of the face's box, in the same unit.

    Returns:
        0 to 3; 0 also for a face that is tilted by less than 60 degrees, or too unclear.
    """
    found = np.asarray(points, np.float64)
    across, down = found[3:].mean(0) - found[:2].mean(0)
    if not np.hypot(across, down) > _LEAST * side:
        return 0
    # From eyes to mouth: 0 is downwards, 90 degrees to the right.
    angle = float(np.degrees(np.arctan2(across, down)))
    return 0 if abs(angle) < _TILT else max(1, round(abs(angle) / 90)) * (1 if angle > 0 else 3) % 4
