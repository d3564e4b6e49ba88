"""The colours of identities, classes and precisions, told apart by colour-blind eyes too."""

from collections.abc import Mapping
from typing import Final

__all__ = ["CLASSES", "IDENTITIES", "PRECISIONS", "Color", "hex_color", "identity_color"]

Color = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

# Okabe and Ito, "Color universal design", 2008.
_ORANGE: Final[Color] = (230, 159, 0)
_SKY: Final[Color] = (86, 180, 233)
_GREEN: Final[Color] = (0, 158, 115)
_YELLOW: Final[Color] = (240, 228, 66)
_VERMILION: Final[Color] = (213, 94, 0)
_PURPLE: Final[Color] = (204, 121, 167)
_BLUE: Final[Color] = (0, 114, 178)

IDENTITIES: Final[tuple[Color, ...]] = (
    _ORANGE, _SKY, _GREEN, _YELLOW, _VERMILION, _PURPLE, _BLUE,
)  # fmt: skip

# Paul Tol's "muted" scheme, its grey darkened so that it shows on white.
CLASSES: Final[tuple[Color, ...]] = (
    (160, 160, 160), (221, 204, 119), (51, 34, 136), (136, 204, 238),
    (170, 68, 153), (17, 119, 51), (204, 102, 119), (153, 153, 51),
)  # fmt: skip
"""One for each of the eight expressions, in their order; five classes take the first five."""

PRECISIONS: Final[Mapping[str, Color]] = {
    "fp32": _BLUE,
    "fp16": _GREEN,
    "int8": _VERMILION,
}


def identity_color(identity: int) -> Color:
    """Return the colour of a face; they come round again after seven."""
    return IDENTITIES[identity % len(IDENTITIES)]


def hex_color(color: Color) -> str:
    """Return a colour as CSS and SVG write it, ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*color)
