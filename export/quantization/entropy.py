"""The range that loses least information when a tensor is written in 8 bits."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "entropy_limit"]

BINS: Final = 2048
LEVELS: Final = 128


def entropy_limit(counts: NDArray[np.float64], largest: float) -> float:
    """Return the absolute value to clip at.

    For each candidate the distribution that is left, with what lies beyond in the last bin, is
    compared with itself after rounding to 128 levels; the one of the smallest Kullback-Leibler
    divergence is taken (Migacz, "8-bit inference with TensorRT", GTC 2017). The first bin counts
    as much as the second: zeros, half of what a ReLU gives, are exact on every scale, and in
    their mass all that is clipped would be lost from sight.

    Args:
        counts: histogram of absolute values in ``BINS`` equal bins from 0 to ``largest``.
        largest: upper end of the last bin.
    """
    counts = counts.copy()
    counts[0] = counts[1]
    candidates = range(LEVELS, BINS + 1, LEVELS // 8)
    losses = [_divergence(counts, bins) for bins in candidates]
    return largest * candidates[int(np.argmin(losses))] / BINS


def _divergence(counts: NDArray[np.float64], bins: int) -> float:
    """Return the divergence of the first bins, clipped, from themselves in 128 levels."""
    kept = counts[:bins]
    clipped = kept.copy()
    clipped[-1] += counts[bins:].sum()
    level = np.arange(bins) * LEVELS // bins
    totals = np.bincount(level, kept, LEVELS)
    filled = np.bincount(level, kept > 0, LEVELS)
    rounded = np.where(kept > 0, (totals / np.maximum(filled, 1))[level], 0.0)
    p, q = clipped / clipped.sum(), rounded / max(rounded.sum(), 1e-12)
    present = p > 0
    if (q[present] == 0).any():
        # Everything beyond fell into a bin that was empty: nothing stands for it.
        q = np.maximum(q, 1e-9)
    return float(np.sum(p[present] * np.log(p[present] / q[present])))
