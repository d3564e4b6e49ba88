"""The type of the arrays that travel: NumPy's, of any element type."""

from typing import Any

from numpy.typing import NDArray

__all__ = ["Array"]

Array = NDArray[Any]
