"""Predictions that are seldom right are told, others are not."""

from pathlib import Path

import numpy as np
import pytest

from emonet_deploy.benchmarks.accuracy.plausibility import doubts
from emonet_deploy.benchmarks.accuracy.protocol import evaluation_of
from emonet_deploy.benchmarks.datasets.base import Dataset, Sample


def told(table):
    samples = tuple(Sample(f"{i}.png", 0, 0.0, 0.0, None) for i in range(len(table)))
    dataset = Dataset("faces", Path(), 8, samples)
    run = evaluation_of(dataset, np.asarray(table, float), (), True, len(table), 1.0)
    return [line.partition(":")[0] for line in doubts(run)]


def various(n):
    rng = np.random.default_rng(0)
    return np.column_stack((rng.integers(0, 8, n), rng.uniform(-0.9, 0.9, (n, 2))))


def test_predictions_that_differ_are_not_doubted():
    assert told(various(40)) == []


def test_one_class_for_all_is_told_by_its_name():
    table = various(40)
    table[:, 0] = 1
    assert told(table) == ["all 40 samples were predicted to be happy"]


@pytest.mark.parametrize(("column", "name"), [(1, "valence"), (2, "arousal")])
def test_one_value_for_all_is_told(column, name):
    table = various(40)
    table[:, column] = -0.25
    assert told(table) == [f"{name} is -0.250 for all 40 samples"]


def test_values_at_the_end_of_the_scale_are_told_when_they_are_most():
    table = various(40)
    table[:22, 2] = np.where(np.arange(22) % 2, 1, -1)
    assert told(table) == ["arousal is at the end of its scale for 55% of the samples"]
    table[:3, 2] = 0.5
    assert told(table) == []


def test_of_a_handful_of_samples_nothing_is_said():
    table = np.tile([[0, 1.0, 1.0]], (16, 1))
    assert len(told(table)) == 3
    assert told(table[:15]) == []


@pytest.mark.parametrize(("ends", "lines"), [(20, 0), (21, 1)])
def test_half_of_the_samples_may_be_at_the_end_of_the_scale(ends, lines):
    table = various(40)
    table[:ends, 1] = np.where(np.arange(ends) % 2, 1, -1)
    assert len(told(table)) == lines


@pytest.mark.parametrize(("spread", "lines"), [(0.0009, 1), (0.0011, 0)])
def test_values_are_alike_when_they_spread_less_than_a_thousandth(spread, lines):
    table = various(40)
    table[:, 1] = 0.5 + spread * np.where(np.arange(40) % 2, 1, -1)
    assert len(told(table)) == lines


def test_each_axis_is_looked_at_though_the_other_is_told():
    table = various(40)
    table[:, 1:] = 1.0, -1.0
    assert told(table) == [
        "valence is +1.000 for all 40 samples",
        "arousal is -1.000 for all 40 samples",
    ]
