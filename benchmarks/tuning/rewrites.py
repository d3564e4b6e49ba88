"""Which rewrites of a graph pay on this processor: models timed in turns, and what follows."""

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Final, TypeVar

import numpy as np

from emonet_deploy.benchmarks.speed.latency import time_in_turns
from emonet_deploy.runtime.backends.onnxruntime import cpu_session

__all__ = ["MOST", "choose_rewrite", "choose_tiles", "time_models"]

MOST: Final = 1.03
"""How many times the plain graph's time a rewritten one may take: differences below are noise."""

GAIN: Final = 0.97
"""A tile must take at most so much of the plain convolution's time."""

PLAIN: Final = "plain"

Key = TypeVar("Key", bound=Hashable)
Shape = TypeVar("Shape", bound=Hashable)


def time_models(
    models: Mapping[Key, bytes], threads: int, seconds: float = 0.0, rounds: int = 15
) -> dict[Key, float]:
    """Return the milliseconds of a run of each ONNX model, one image, in turns.

    It is the 25th percentile, which other processes on the machine hardly change.

    Args:
        models: serialised, of one input of float32; a free dimension is 1.
        threads: of ONNX Runtime.
        seconds: measured time for each, on average.
        rounds: how many there are at least.
    """
    calls = {}
    for key, content in models.items():
        session = cpu_session(content, threads)
        (given,) = session.get_inputs()
        shape = [size if isinstance(size, int) else 1 for size in given.shape]
        image = np.random.default_rng(0).random(shape, np.float32)
        calls[key] = partial(session.run, None, {given.name: image})
    timings = time_in_turns(calls, 0.0, seconds, rounds=rounds)
    return {key: timing.percentile(25) for key, timing in timings.items()}


def choose_tiles(times: Mapping[Shape, Mapping[int, float]]) -> dict[Shape, int]:
    """Return Winograd's tile for each shape that it makes faster.

    Args:
        times: for each shape, milliseconds by tile; those of tile 0 are of the plain convolution.
    """
    best = {shape: min(found, key=lambda tile: found[tile]) for shape, found in times.items()}
    return {
        shape: tile
        for shape, tile in best.items()
        if tile and times[shape][tile] <= GAIN * times[shape][0]
    }


def choose_rewrite(times: Mapping[int, Mapping[str, float]]) -> str:
    """Return which graph is fastest without being slower than the plain one in any respect.

    Args:
        times: for each number of threads, milliseconds by the graph's name, ``plain`` among them.

    Example:
        >>> choose_rewrite({1: {"plain": 147.0, "generic": 136.0},
        ...                 2: {"plain": 82.0, "generic": 104.0}})
        'plain'
    """
    names = next(iter(times.values()))
    ratios = {name: [found[name] / found[PLAIN] for found in times.values()] for name in names}
    allowed = [name for name in names if max(ratios[name]) <= MOST]
    return min(allowed, key=lambda name: float(np.prod(ratios[name])))
