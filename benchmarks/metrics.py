"""The paper's metrics in float64, with bootstrap intervals.

Formulas: section "Metrics" of Toisoul et al., Nature Machine Intelligence 3, 42-50, 2021. The
truth is g, the prediction p, both already clipped to [-1, 1]; standard deviations are those of
the population. What is undefined (a correlation with a constant) is None, never NaN.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emonet_deploy.emonet_ref.contract import METRIC_NAMES, Accuracy, Regression
from emonet_deploy.errors import InputError

__all__ = [
    "NO_EXPRESSION",
    "Floats",
    "Interval",
    "Labels",
    "accuracy",
    "ccc",
    "confusion_matrix",
    "expression_accuracy",
    "intervals",
    "paired_intervals",
    "pcc",
    "per_class_recall",
    "regression",
    "rmse",
    "sagr",
]

NO_EXPRESSION: Final = -1
"""Class of a sample whose truth has none; such a sample does not count in ACC."""

RESAMPLES: Final = 1000

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


@dataclass(frozen=True)
class Interval:
    """The central 95% of a metric's bootstrap distribution."""

    low: float
    high: float


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
    """Return Lin's concordance correlation, or None where either side is constant."""
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


def intervals(
    truth: Labels, prediction: Labels, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Interval | None]:
    """Bootstrap the samples and return the 95% interval of each metric.

    Returns:
        Intervals by the names of ``METRIC_NAMES``; None where the metric is undefined.
    """
    return _percentiles(
        [_metrics(sums) for sums in _resampled(truth, [prediction], seed, resamples)]
    )


def paired_intervals(
    truth: Labels, a: Labels, b: Labels, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Interval | None]:
    """Bootstrap the samples and return the 95% interval of each metric of ``b`` minus ``a``.

    Both predictions see the same resamples, so that what they share cancels out.
    """
    return _percentiles(
        [
            _metrics(sums[len(sums) // 2 :]) - _metrics(sums[: len(sums) // 2])
            for sums in _resampled(truth, [a, b], seed, resamples)
        ]
    )


def _resampled(
    truth: Labels, predictions: Sequence[Labels], seed: int, resamples: int
) -> Iterator[Floats]:
    """Yield, for each resample, the sums `_metrics` computes from, one prediction after another.

    Every metric is a function of few sums over the samples, so a resample is one product of how
    often each sample was drawn with the matrix of its terms: fast, and flat in memory.
    """
    terms = np.concatenate([_terms(truth, prediction) for prediction in predictions])
    rng, n = np.random.default_rng(seed), len(truth)
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)
        yield terms @ drawn


def _terms(truth: Labels, prediction: Labels) -> Floats:
    labelled = truth.expression != NO_EXPRESSION
    rows = [labelled, labelled & (truth.expression == prediction.expression)]
    for g, p in ((truth.valence, prediction.valence), (truth.arousal, prediction.arousal)):
        # Centred, so that the variances below lose no digits; `shift` restores what was taken.
        x, y = g - g.mean(), p - p.mean()
        shift = np.full_like(g, g.mean() - p.mean())
        rows += [np.ones_like(g), x, y, x * x, y * y, x * y, shift]
        rows += [(g - p) ** 2, np.sign(g) == np.sign(p)]
    return np.asarray(rows, np.float64)


def _metrics(sums: Floats) -> Floats:
    """Return the nine metrics, in the order of ``METRIC_NAMES``, NaN where undefined."""
    values = [sums[1] / sums[0] if sums[0] else np.nan]
    for start in (2, 11):
        n, x, y, xx, yy, xy, shift, squares, signs = sums[start : start + 9]
        variance_g, variance_p = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
        covariance = xy / n - (x / n) * (y / n)
        defined = min(variance_g, variance_p) > 1e-15
        product = np.sqrt(variance_g * variance_p) if defined else np.nan
        distance = variance_g + variance_p + ((x - y + shift) / n) ** 2
        values += [
            2 * covariance / distance if defined else np.nan,
            covariance / product,
            np.sqrt(squares / n),
            signs / n,
        ]
    return np.asarray(values)


def _percentiles(draws: list[Floats]) -> dict[str, Interval | None]:
    found: dict[str, Interval | None] = {}
    for name, values in zip(METRIC_NAMES, np.transpose(draws), strict=True):
        defined = values[np.isfinite(values)]
        found[name] = (
            Interval(*map(float, np.percentile(defined, [2.5, 97.5]))) if defined.size else None
        )
    return found
