from itertools import pairwise

import numpy as np
import pytest

from emonet_deploy.export.quantization.entropy import BINS, entropy_limit


def histogram(values, largest):
    return np.histogram(np.abs(values), BINS, (0, largest))[0].astype(float)


def reference(counts, largest):
    """Migacz' search, written from his slides, with SciPy's divergence."""
    counts = counts.copy()
    counts[0] = counts[1]
    losses = {}
    for bins in range(128, 2049, 16):
        p = counts[:bins].copy()
        p[-1] += counts[bins:].sum()
        q = np.zeros(bins)
        edges = [-(-level * bins // 128) for level in range(129)]
        for start, stop in pairwise(edges):
            part = counts[start:stop]
            if (part > 0).any():
                q[start:stop][part > 0] = part.sum() / (part > 0).sum()
        q = q / max(q.sum(), 1e-12)
        if (q[p > 0] == 0).any():
            q = np.maximum(q, 1e-9)
        kept = p > 0
        p = p / p.sum()
        losses[bins] = float(np.sum(p[kept] * np.log(p[kept] / q[kept])))
    return largest * min(losses, key=losses.get) / 2048


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "outlier", "sparse"])
def test_it_clips_where_the_published_search_does(kind):
    rng = np.random.default_rng(5)
    values = {
        "normal": rng.normal(size=20_000), "laplace": rng.laplace(size=20_000),
        "uniform": rng.uniform(-1, 1, 20_000),
        "outlier": np.append(rng.normal(size=20_000), 40.0),
        "sparse": np.append(rng.normal(size=300) * (rng.random(300) < 0.3), 9.0),
    }[kind]  # fmt: skip
    largest = float(np.abs(values).max())
    counts = histogram(values, largest)
    before = counts.copy()
    found = entropy_limit(counts, largest)
    assert found == pytest.approx(reference(counts, largest))
    np.testing.assert_array_equal(counts, before)
    assert largest / 16 <= found <= largest


def test_an_outlier_is_cut_off_and_an_even_range_is_not():
    rng = np.random.default_rng(0)
    even = rng.uniform(0, 1, 50_000)
    assert entropy_limit(histogram(even, 1.0), 1.0) > 0.95
    lonely = np.append(rng.normal(size=50_000), 100.0)
    assert entropy_limit(histogram(lonely, 100.0), 100.0) < 10


def test_how_many_zeros_there_are_makes_no_difference():
    rng = np.random.default_rng(1)
    counts = histogram(rng.laplace(size=20_000), 12.0)
    many = counts.copy()
    many[0] += 1e6
    assert entropy_limit(many, 12.0) == entropy_limit(counts, 12.0)


def test_the_limit_is_proportional_to_the_largest_value():
    counts = histogram(np.random.default_rng(2).normal(size=5000), 5.0)
    assert entropy_limit(counts, 10.0) == pytest.approx(2 * entropy_limit(counts, 5.0))
