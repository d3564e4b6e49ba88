"""Whether a box can be that of a face in a picture, or was measured on another scale."""

import numpy as np

from emonet_deploy.runtime.detection.base import Box

__all__ = ["box_problem"]

_LEAST_SIDE = 2.0  # Pixels; boxes from 0 to 1 are smaller.
_LEAST_INSIDE = 0.25  # Share of a box's area, with its centre at a corner of the picture.


def box_problem(box: Box, width: int, height: int) -> str | None:
    """Return why a box cannot be of a face in a picture, None where it can.

    A box may reach over the border, as detectors' boxes do. One that lies outside for the most
    part, or is smaller than two pixels, is in other units or of a picture of another size.

    Args:
        box: left, top, right, bottom, finite, with an area.
        width: of the picture, pixels.
        height: of the picture, pixels.
    """
    x0, y0, x1, y1 = np.asarray(box, np.float64).tolist()
    shown = " ".join(f"{side:g}" for side in (x0, y0, x1, y1))
    if min(x1 - x0, y1 - y0) < _LEAST_SIDE:
        units = "; boxes are in pixels, not from 0 to 1" if max(x1, y1) <= 2 else ""
        return f"the box {shown} is smaller than {_LEAST_SIDE:g} pixels{units}"
    across, down = min(x1, width) - max(x0, 0.0), min(y1, height) - max(y0, 0.0)
    meets = across > 0 and down > 0
    # Shares of each side, not of the area: that of huge sides is infinite.
    if not meets or across / (x1 - x0) * (down / (y1 - y0)) < _LEAST_INSIDE:
        part = ", for the most part" if meets else ""
        return f"the box {shown} lies outside the picture of {width} x {height} pixels{part}"
    return None
