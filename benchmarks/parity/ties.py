"""Equal classes, with ties apart: what a precision's own rounding cannot tell is no error of it.

Where the reference gives its two best classes nearly the same probability, any rounding may swap
them. How near is nearly is measured, not set: on the faces judged, the precision changes the
difference of those two probabilities by an error of some root mean square; within ``DEVIATIONS``
times that a face is a tie. So that a wrong artifact does not excuse itself with its own large
error, the margin is at most what the gates let through elsewhere: a CCC of ``c`` allows an error of
``sqrt(2 (1 - c))`` standard deviations, and this is that share of the probabilities' spread.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.precision_specs import Gates

__all__ = ["Agreement", "count_equal"]

DEVIATIONS: Final = 3.0


@dataclass(frozen=True, eq=False)
class Agreement:
    """Which of n faces have the class that the reference gives them.

    Attributes:
        equal: n, whether the classes are equal.
        tied: n, whether the reference's two best classes are a tie.
        margin: difference of two probabilities below which they are one.
    """

    equal: NDArray[np.bool_]
    tied: NDArray[np.bool_]
    margin: float

    @property
    def share(self) -> float:
        """Share of equal classes among all faces."""
        return float(self.equal.mean())

    @property
    def share_apart(self) -> float | None:
        """Share of equal classes among the faces that are no tie; None where all are."""
        apart = self.equal[~self.tied]
        return float(apart.mean()) if apart.size else None


def count_equal(truth: Array, made: Array, gates: Gates) -> Agreement:
    """Compare the classes of n faces.

    Args:
        truth: probabilities by the reference, n x nclass.
        made: probabilities by the artifact, n x nclass.
        gates: of its precision; they bound the margin.
    """
    truth, made = truth.astype(np.float64), made.astype(np.float64)
    rows = np.arange(len(truth))
    order = truth.argsort(1, kind="stable")
    best, second = order[:, -1], order[:, -2]
    gap = truth[rows, best] - truth[rows, second]
    error = made[rows, best] - made[rows, second] - gap
    allowed = np.sqrt(2 * (1 - gates.ccc)) if gates.ccc is not None else gates.max_error or 0.0
    # Of two probabilities that err by that share of their spread each.
    most = allowed * truth.std(0).mean() * np.sqrt(2)
    margin = DEVIATIONS * min(float(np.sqrt(np.square(error).mean())), float(most))
    return Agreement(truth.argmax(1) == made.argmax(1), gap < margin, margin)
