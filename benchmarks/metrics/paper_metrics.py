"""The paper's metrics in float64.

Formulas: section "Metrics" of Toisoul et al., Nature Machine Intelligence 3, 42-50, 2021. The
truth is g, the prediction p, both already clipped to [-1, 1]; standard deviations are those of
the population. What is undefined (a correlation with a constant) is None, never NaN.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emonet_deploy.emonet_ref.constants import Accuracy, Regression
from emonet_deploy.errors import InputError

__all__ = [
    "NO_EXPRESSION",
    "Floats",
    "Labels",
    "accuracy",
    "ccc",
    "confusion_matrix",
    "expression_accuracy",
    "pcc",
    "per_class_recall",
    "regression",
    "rmse",
    "sagr",
]

NO_EXPRESSION: Final = -1
"""Class of a sample whose truth has none; such a sample does not count in ACC."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """Truth or predictions of n samples, in the same order."""

    expression: NDArray[np.int64]
    """n class indices."""
    valence: Floats
    """n values in [-1, 1]."""
    arousal: Floats
    """n values in [-1, 1]."""

    def __post_init__(self) -> None:
        shapes = {self.expression.shape, self.valence.shape, self.arousal.shape}
        if len(shapes) != 1 or self.expression.ndim != 1:
            raise InputError(f"labels must be three arrays of one length, these are {shapes}")
        if not (np.isfinite(self.valence).all() and np.isfinite(self.arousal).all()):
            raise InputError("valence or arousal holds NaN or infinity; check the model's output")

    def __len__(self) -> int:
        return len(self.expression)

    def __getitem__(self, index: NDArray[Any]) -> "Labels":
        return Labels(self.expression[index], self.valence[index], self.arousal[index])


def _pair(truth: ArrayLike, prediction: ArrayLike) -> tuple[Floats, Floats]:
    g, p = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if g.shape != p.shape or g.ndim != 1 or not g.size:
        raise InputError(
            f"a metric needs two lists of one length and at least one sample, not {g.shape} and "
            f"{p.shape}"
        )
    return g, p


def rmse(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return the root of the mean squared error."""
    g, p = _pair(truth, prediction)
    return float(np.sqrt(np.mean((g - p) ** 2)))


def sagr(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return the share of equal signs, where zero is a sign of its own."""
    g, p = _pair(truth, prediction)
    return float(np.mean(np.sign(g) == np.sign(p)))


def pcc(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Return Pearson's correlation, or None where either side is constant."""
    g, p = _pair(truth, prediction)
    # Not std == 0: the mean of equal values need not be that value, and then std is 1e-17.
    if np.ptp(g) == 0 or np.ptp(p) == 0:
        return None
    covariance = np.mean((g - g.mean()) * (p - p.mean()))
    spread = g.std() * p.std()
    return float(np.clip(covariance / spread, -1, 1)) if spread > 0 else None


def ccc(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Return Lin's concordance correlation, or None where either side is constant.

    Example:
        >>> round(ccc([0, 0.5, 1], [0.1, 0.5, 0.9]), 4)
        0.9756
    """
    g, p = _pair(truth, prediction)
    correlation = pcc(g, p)
    if correlation is None:
        return None
    distance = g.var() + p.var() + (g.mean() - p.mean()) ** 2
    return float(2 * correlation * g.std() * p.std() / distance)


def expression_accuracy(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Return the share of equal classes, or None where no sample has a class."""
    g, p = np.asarray(truth), np.asarray(prediction)
    labelled = g != NO_EXPRESSION
    return float(np.mean(g[labelled] == p[labelled])) if labelled.any() else None


def regression(truth: ArrayLike, prediction: ArrayLike) -> Regression:
    """Return all four metrics of a continuous prediction."""
    g, p = _pair(truth, prediction)
    return Regression(CCC=ccc(g, p), PCC=pcc(g, p), RMSE=rmse(g, p), SAGR=sagr(g, p))


def accuracy(truth: Labels, prediction: Labels) -> Accuracy:
    """Return every metric of the paper's table.

    Raises:
        InputError: without samples, or with different numbers of them.
    """
    return Accuracy(
        ACC=expression_accuracy(truth.expression, prediction.expression),
        valence=regression(truth.valence, prediction.valence),
        arousal=regression(truth.arousal, prediction.arousal),
    )


def confusion_matrix(truth: Labels, prediction: Labels, nclass: int) -> NDArray[np.int64]:
    """Count samples by true class (row) and predicted class (column), nclass x nclass."""
    labelled = truth.expression != NO_EXPRESSION
    cells = truth.expression[labelled] * nclass + prediction.expression[labelled]
    return np.bincount(cells, minlength=nclass * nclass).reshape(nclass, nclass)


def per_class_recall(confusion: NDArray[np.int64]) -> list[float | None]:
    """Return the share of each true class that was recognised; None for a class with no sample."""
    return [
        float(row[index] / row.sum()) if row.sum() else None for index, row in enumerate(confusion)
    ]
