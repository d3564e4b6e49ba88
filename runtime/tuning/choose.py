"""Which of the measured ways is the fastest: pure functions over recorded times."""

from collections.abc import Iterable
from typing import Final

from emonet_deploy.runtime.precision_specs import PRECISIONS
from emonet_deploy.runtime.tuning.configuration import Measured

__all__ = ["TIE", "choose"]

TIE: Final = 0.01
"""Ways that are slower than the fastest by no more than this share are as good: noise is larger."""


def choose(rows: Iterable[Measured]) -> Measured | None:
    """Return the fastest; None of none.

    Those that were timed in turns to the end are compared; only if there is none of them, the
    others. Among ways that are as fast but for ``TIE``, the more exact precision wins, then fewer
    threads, then the plain file.

    Args:
        rows: of one purpose.
    """
    found = list(rows)
    found = [row for row in found if row.final] or found
    if not found:
        return None
    best = min(row.cost for row in found)
    ties = [row for row in found if row.cost <= best * (1 + TIE)]
    return min(ties, key=_preference)


def _preference(row: Measured) -> tuple[int, int, bool, float]:
    way = row.configuration
    return (
        -PRECISIONS[way.precision].bits,
        way.threads or 0,
        way.target == "cpu",
        row.cost,
    )
