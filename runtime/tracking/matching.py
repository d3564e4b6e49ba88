"""Who is who: pairs of the highest affinity first."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_pairs"]


def best_pairs(affinity: NDArray[np.float64], above: float) -> Iterator[tuple[int, int]]:
    """Yield (row, column) from the highest affinity down, each row and column once.

    Args:
        affinity: n x m, of each row with each column.
        above: pairs of no higher affinity are none.
    """
    table = affinity.copy()
    while table.size and table.max() > above:
        row, column = np.unravel_index(int(table.argmax()), table.shape)
        yield int(row), int(column)
        table[row, :] = -1
        table[:, column] = -1
