"""Is every channel of every layer what the reference's is? What the outputs alone cannot show.

A wrong scale in one layer or two swapped channels may change the outputs less than rounding to
int8 does. In the layer itself they stand out:

- the *gain* of a layer is the slope of its channels over the reference's, of the median channel;
- the *noise* of a layer is ``1 - r^2``, ``r`` a channel's correlation with the reference's, of the
  median channel: what rounding made of it;
- a *stray* is a channel that resembles another one of the reference's layer more than its own.

Layers whose scale an export may choose have no gain: what reads them has.
"""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from emonet_deploy.benchmarks.parity.layers import RESCALED, layer_outputs
from emonet_deploy.benchmarks.parity.verdicts import Verdict
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.precision_specs import Gates

__all__ = ["LayerNoise", "compare_channels", "judge_channels"]

PLACES: Final = 1024
"""Values of each face and channel that are compared, evenly spread; bounds the memory."""

SILENT: Final = 1e-3
"""A channel that varies less than this share of its layer's median one is not compared."""

CLEARLY: Final = 0.1
"""By how much the correlation with another channel must exceed that with its own."""


@dataclass(frozen=True)
class LayerNoise:
    """What became of one layer's channels.

    Attributes:
        noise: median, over the channels that vary, of ``1 - r^2``.
        gain: median of their slopes; None where the export may choose it.
        strays: number of channels that resemble another one of the reference more.
        channels: how many vary.
    """

    noise: float
    gain: float | None
    strays: int
    channels: int


def compare_channels(
    reference: EmoNet, artifact: str | os.PathLike[str], crops: NDArray[np.uint8]
) -> dict[str, LayerNoise]:
    """Compare the channels of every convolution that both have, in the graph's order.

    Args:
        reference: on the CPU, in eval mode.
        artifact: an ONNX model made from it.
        crops: N x 256 x 256 x 3, uint8 RGB; eight or so.
    """
    sums: dict[str, _Moments] = defaultdict(_Moments)
    for expected, got in layer_outputs(reference, artifact, crops):
        for name, values in expected.items():
            if values.ndim == 4:
                sums[name].add(_spread_out(values), _spread_out(got[name]))
    found = {name: _layer_noise(moments) for name, moments in sums.items()}
    return {
        name: layer if _has_scale(reference, name) else replace(layer, gain=None)
        for name, layer in found.items()
    }


class _Moments:
    """Sums over the places of all faces, from which come spreads and correlations of channels.

    Kept instead of the values, which would be a gigabyte and a half.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sums: Array = np.zeros((2, 1))
        self._squares: Array = np.zeros((2, 1))
        self._products: Array = np.zeros((1, 1))

    def add(self, truth: Array, made: Array) -> None:
        """Add a face's values, channels x places each."""
        both = np.stack([truth, made], dtype=np.float64)
        self._count += both.shape[2]
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite fails in the end
            self._sums = self._sums + both.sum(2)
            self._squares = self._squares + np.square(both).sum(2)
            self._products = self._products + both[1] @ both[0].T

    def spreads(self) -> Array:
        """Return the standard deviations of the channels, 2 x channels: the truth's, the made."""
        with np.errstate(invalid="ignore", over="ignore"):
            variance = self._squares / self._count - np.square(self._sums / self._count)
        return np.asarray(np.sqrt(variance.clip(0)))

    def covariance(self) -> Array:
        """Return that of each made channel with each of the truth, channels x channels."""
        mean = self._sums / self._count
        return np.asarray(self._products / self._count - np.outer(mean[1], mean[0]))


def _has_scale(reference: EmoNet, name: str) -> bool:
    """Tell whether a layer has the reference's scale; what a norm writes has not."""
    return name not in RESCALED and isinstance(reference.get_submodule(name), nn.Conv2d)


def judge_channels(layers: Mapping[str, LayerNoise], gates: Gates) -> dict[str, Verdict]:
    """Hold the noisiest layer, the worst gain, and the number of strays in all, against gates."""
    verdicts = {}
    if gates.layer_noise is not None and layers:
        worst = max(layer.noise for layer in layers.values())
        verdicts["layer_noise"] = Verdict(gates.layer_noise, worst, worst <= gates.layer_noise)
    if gates.layer_gain is not None and layers:
        off = max(abs(each.gain - 1) for each in layers.values() if each.gain is not None)
        verdicts["layer_gain"] = Verdict(gates.layer_gain, off, off <= gates.layer_gain)
    if gates.strays is not None and layers:
        strays = sum(layer.strays for layer in layers.values())
        verdicts["strays"] = Verdict(gates.strays, float(strays), strays <= gates.strays)
    return verdicts


def _spread_out(values: Array) -> Array:
    """Return one face's maps as channels x places, thinned out."""
    flat = values[0].reshape(values.shape[1], -1)
    # An odd step: an even one would meet the same columns of each row.
    return np.asarray(flat[:, :: max(1, flat.shape[1] // PLACES) | 1])


def _layer_noise(moments: _Moments) -> LayerNoise:
    spread, found = moments.spreads()
    if not np.isfinite(found).all():
        return LayerNoise(1.0, 0.0, 0, 0)
    varies = spread > SILENT * np.median(spread)
    if not varies.any():
        return LayerNoise(0.0, None, 0, 0)
    spread, found = spread[varies], found[varies]
    r = moments.covariance()[np.ix_(varies, varies)] / np.maximum(found, 1e-30)[:, None] / spread
    own = r.diagonal().copy()
    gains = own * found / spread
    np.fill_diagonal(r, -1)
    strays = int((r.max(1) > own + CLEARLY).sum())
    noise = float(np.median(1 - np.square(own)))
    return LayerNoise(noise, float(np.median(gains)), strays, len(own))
