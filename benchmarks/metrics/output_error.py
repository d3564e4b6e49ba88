"""How far two arrays lie apart, summed up batch by batch."""

from dataclasses import dataclass

import numpy as np

from emonet_deploy.runtime.array_type import Array

__all__ = ["Difference", "DifferenceSums"]


@dataclass(frozen=True)
class Difference:
    """How far one output lies from the reference's.

    Attributes:
        max_abs: largest absolute difference.
        mean_abs: mean absolute difference.
        cosine: cosine of the angle between the two, over all values; None where one is zero.
        snr_db: power of the reference over power of the difference, in dB; None when equal.
        spread: standard deviation of the reference's values.
    """

    max_abs: float
    mean_abs: float
    cosine: float | None
    snr_db: float | None
    spread: float


class DifferenceSums:
    """Running sums over all values of one tensor, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.max_abs = 0.0
        # truth, truth^2, made^2, truth * made, |difference|, difference^2
        self.totals = np.zeros(6)

    def add(self, truth: Array, made: Array) -> None:
        """Take in a batch: the reference's values, and those under test, of one shape."""
        g, p = truth.ravel().astype(np.float64), made.ravel().astype(np.float64)
        error = np.abs(g - p)
        self.count += g.size
        self.max_abs = max(self.max_abs, float(error.max()))
        self.totals += [g.sum(), g @ g, p @ p, g @ p, error.sum(), error @ error]

    def difference(self) -> Difference:
        """Return the difference over all that was taken in, at least one value."""
        total, power, made_power, product, error, error_power = self.totals
        norm = np.sqrt(power * made_power)
        return Difference(
            max_abs=self.max_abs,
            mean_abs=float(error / self.count),
            cosine=float(product / norm) if norm > 0 else None,
            snr_db=float(10 * np.log10(power / error_power)) if error_power * power > 0 else None,
            spread=float(np.sqrt(max(power / self.count - (total / self.count) ** 2, 0.0))),
        )
