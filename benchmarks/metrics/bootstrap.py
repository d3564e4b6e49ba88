"""Bootstrap intervals of the paper's metrics, single and of paired differences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION, Floats, Labels
from emonet_deploy.emonet_ref.constants import METRIC_NAMES

__all__ = ["Interval", "intervals", "paired_intervals"]

RESAMPLES: Final = 1000


@dataclass(frozen=True)
class Interval:
    """The central 95% of a metric's bootstrap distribution."""

    low: float
    high: float


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
