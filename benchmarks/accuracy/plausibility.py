"""Predictions that are seldom right, whatever the labels: all alike, or at the end of the scale."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from emonet_deploy.benchmarks.accuracy.protocol import Evaluation
from emonet_deploy.emonet_ref.constants import CLASS_NAMES

__all__ = ["doubts"]

_FEW: Final = 16
"""Of so few samples anything may be true."""

_CLIPPED: Final = 0.5
"""Share of values at -1 or 1 beyond which a network says what it was not trained to."""

_ALIKE: Final = 1e-3
"""Standard deviation of valence or arousal below which pictures make no difference."""


def doubts(run: Evaluation) -> Iterator[str]:
    """Yield what about the predictions themselves makes an accuracy doubtful, a line each.

    It is told and nothing more: a data set may be of one expression.

    Args:
        run: the predictions; of fewer than 16 samples nothing is said.

    Example:
        >>> for line in doubts(run):  # doctest: +SKIP
        ...     print(line)
        all 500 samples were predicted to be neutral: ...
    """
    found = run.prediction
    count = len(found)
    if count < _FEW:
        return
    advice = "are the crops, the boxes and the weights the right ones?"
    classes = np.unique(found.expression)
    if len(classes) == 1:
        name = CLASS_NAMES[run.dataset.nclass][int(classes[0])]
        yield f"all {count} samples were predicted to be {name}: {advice}"
    for name, values in (("valence", found.valence), ("arousal", found.arousal)):
        if np.std(values) < _ALIKE:
            yield f"{name} is {np.mean(values):+.3f} for all {count} samples: {advice}"
        elif (clipped := float(np.mean(np.abs(values) >= 1))) > _CLIPPED:
            yield f"{name} is at the end of its scale for {clipped:.0%} of the samples: {advice}"
