"""The colours of identities and classes, told apart by colour-blind eyes too."""

from typing import Final

__all__ = ["CLASSES", "IDENTITIES", "Color", "hex_color", "identity_color"]

Color = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

# Okabe and Ito, "Color universal design", 2008.
IDENTITIES: Final[tuple[Color, ...]] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167),
    (0, 114, 178),
)  # fmt: skip

# Paul Tol's "muted" scheme, its grey darkened so that it shows on white.
CLASSES: Final[tuple[Color, ...]] = (
    (160, 160, 160), (221, 204, 119), (51, 34, 136), (136, 204, 238),
    (170, 68, 153), (17, 119, 51), (204, 102, 119), (153, 153, 51),
)  # fmt: skip
"""One for each of the eight expressions, in their order; five classes take the first five."""


def identity_color(identity: int) -> Color:
    """Return the colour of a face; they come round again after seven."""
    return IDENTITIES[identity % len(IDENTITIES)]


def hex_color(color: Color) -> str:
    """Return a colour as CSS and SVG write it, ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*color)
