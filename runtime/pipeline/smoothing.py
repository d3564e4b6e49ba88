"""Smoothing of predictions over time, per identity."""

from collections import deque
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.pipeline.predictor import Prediction

__all__ = [
    "AUTHORS_WEIGHTS",
    "ExponentialSmoother",
    "Smoother",
    "WindowSmoother",
    "smoother_of",
]

AUTHORS_WEIGHTS: Final = (0.1, 0.1, 0.15, 0.25, 0.4)
"""The authors' weights of the last five frames, oldest first."""

_FORGET = 2.0  # Seconds unseen after which an identity starts anew.


class Smoother(Protocol):
    """Anything that smooths the predictions of each identity, given in order of time."""

    def smooth(self, identity: int, time: float, prediction: Prediction) -> Prediction:
        """Return the smoothed prediction; landmarks stay as they are."""
        ...

    def reset(self) -> None:
        """Forget all identities, as at the start of a clip."""
        ...


class WindowSmoother:
    """The weighted mean of the last frames of an identity, as the authors' code does it.

    It differs in one point: while fewer frames were seen than there are weights, the weights of
    those seen are scaled to sum to 1, where the authors start from zeros and so damp the first
    results.
    """

    def __init__(self, weights: tuple[float, ...] = AUTHORS_WEIGHTS) -> None:
        """Take the weights, oldest frame first."""
        self._weights = np.array(weights)
        self._seen: dict[int, deque[tuple[float, NDArray[np.float64]]]] = {}

    def smooth(self, identity: int, time: float, prediction: Prediction) -> Prediction:
        """Return the smoothed prediction; landmarks stay as they are."""
        for old in _lapsed({key: seen[-1][0] for key, seen in self._seen.items()}, time):
            del self._seen[old]
        seen = self._seen.setdefault(identity, deque(maxlen=len(self._weights)))
        seen.append((time, _values(prediction)))
        weights = self._weights[-len(seen) :]
        return _with_values(
            prediction, weights @ np.stack([values for _, values in seen]) / weights.sum()
        )

    def reset(self) -> None:
        """Forget all identities."""
        self._seen.clear()


@dataclass
class _Running:
    time: float
    values: NDArray[np.float64]


class ExponentialSmoother:
    """A running mean in which what is ``time_constant`` seconds old weighs 1/e of the newest.

    It goes by time stamps, so it does the same at 10 and at 60 frames per second.
    """

    def __init__(self, time_constant: float) -> None:
        """Take the time constant in seconds.

        Raises:
            InputError: it is not a positive number.
        """
        if not (np.isfinite(time_constant) and time_constant > 0):
            raise InputError(
                f"a smoothing time of {time_constant} s makes no sense; give seconds above 0"
            )
        self._time_constant = time_constant
        self._running: dict[int, _Running] = {}

    def smooth(self, identity: int, time: float, prediction: Prediction) -> Prediction:
        """Return the smoothed prediction; landmarks stay as they are."""
        for old in _lapsed({key: state.time for key, state in self._running.items()}, time):
            del self._running[old]
        newest = _values(prediction)
        state = self._running.setdefault(identity, _Running(time, newest))
        gain = -np.expm1(-max(time - state.time, 0.0) / self._time_constant)
        state.values = state.values + gain * (newest - state.values)
        state.time = time
        return _with_values(prediction, state.values)

    def reset(self) -> None:
        """Forget all identities."""
        self._running.clear()


def smoother_of(name: str) -> Smoother | None:
    """Return the smoother a command line names: ``none``, ``authors`` or a number of seconds.

    Raises:
        InputError: it is none of these.
    """
    if name == "none":
        return None
    if name == "authors":
        return WindowSmoother()
    try:
        return ExponentialSmoother(float(name))
    except ValueError as error:
        raise InputError(
            f"unknown smoothing {name!r}; take none, authors or a time in seconds such as 0.3"
        ) from error


def _lapsed(last_seen: dict[int, float], now: float) -> list[int]:
    return [identity for identity, time in last_seen.items() if now - time > _FORGET]


def _values(prediction: Prediction) -> NDArray[np.float64]:
    # Log-probabilities are the logits but for a constant shared by the classes, and a weighted mean
    # passes that constant through: smoothing them is smoothing the logits.
    probabilities = np.array(list(prediction.probabilities.values()), np.float64)
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return np.append(logits, (prediction.valence, prediction.arousal))


def _with_values(prediction: Prediction, values: NDArray[np.float64]) -> Prediction:
    # Means of logarithms that are no smaller than float32's least: no exponential vanishes.
    shares = np.exp(values[:-2])
    names = list(prediction.probabilities)
    probabilities = dict(zip(names, (shares / shares.sum()).tolist(), strict=True))
    return replace(
        prediction,
        expression=names[int(shares.argmax())],
        probabilities=probabilities,
        valence=float(values[-2]),
        arousal=float(values[-1]),
    )
