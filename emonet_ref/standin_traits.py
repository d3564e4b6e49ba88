"""What makes a stand-in look like trained weights: traits that its name may carry.

``standin:SEED:TRAIT`` or several, ``standin:SEED:TRAIT:TRAIT``. In a plain stand-in all channels
are alike, which those of a trained network are not; each trait takes one such comfort away.
"""

import hashlib
from collections.abc import Mapping, MutableMapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emonet_deploy.emonet_ref.model import ConvBlock, EmoNet

__all__ = ["TRAITS", "draw_weight", "named_rng", "rescale_channels", "rescaling", "set_norms"]

TRAITS: Final[Mapping[str, str]] = {
    "rescaled": "the same function, channels rescaled by log-normal factors of sigma 1",
    "rescaled-2": "the same function, channels rescaled by log-normal factors of sigma 2",
    "outlying": "1 in 20 channels of a norm is dead, 1 in 50 thirty times as large as the others",
    "heavy-tailed": "weights of Student's t distribution with 3 degrees of freedom",
    "correlated": "filters share half of their variance with those of seven others",
    "sparse": "norms shifted so that a ReLU lets one value in six through",
}
"""Each trait and what it does."""

_SIGMA: Final = {"rescaled": 1.0, "rescaled-2": 2.0}

FREEDOM: Final = 3
SHARED: Final = 8
DEAD, OUTLYING, LARGER = 0.05, 0.02, 30.0

Floats = NDArray[np.float64]


def named_rng(seed: int, name: str) -> np.random.Generator:
    """Return a generator of a weight's own, so that no weight depends on another."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))


def draw_weight(
    shape: tuple[int, ...], std: float, rng: np.random.Generator, traits: frozenset[str]
) -> Floats:
    """Draw a weight, out x in x ..., of a standard deviation."""

    def draw(size: tuple[int, ...]) -> Floats:
        if "heavy-tailed" in traits:
            values = rng.standard_t(FREEDOM, size) / np.sqrt(FREEDOM / (FREEDOM - 2))
            return np.asarray(values * std)
        return rng.normal(0, std, size)

    values = draw(shape)
    if "correlated" in traits and len(values) % SHARED == 0:
        common = draw((len(values) // SHARED, *shape[1:]))
        values = (values + np.repeat(common, SHARED, 0)) * np.sqrt(0.5)
    return values


def set_norms(state: MutableMapping[str, Tensor], seed: int, traits: frozenset[str]) -> None:
    """Set the norms' weights and biases, which are 1 and 0 in a plain stand-in, in place."""
    for name in [key.removesuffix(".running_var") for key in state if key.endswith("running_var")]:
        rng = named_rng(seed, f"{name}:traits")
        size = len(state[f"{name}.weight"])
        weight, bias = np.ones(size), np.zeros(size)
        if "sparse" in traits:
            bias -= rng.uniform(0.7, 1.3, size)
        if "outlying" in traits:
            chance = rng.uniform(size=size)
            weight[chance < DEAD], bias[chance < DEAD] = 1e-6, -0.1
            outlying = chance > 1 - OUTLYING
            weight[outlying] *= LARGER
            bias[outlying] *= LARGER
        state[f"{name}.weight"] = torch.from_numpy(weight).float()
        state[f"{name}.bias"] = torch.from_numpy(bias).float()


def rescaling(traits: frozenset[str]) -> float:
    """Return the sigma of the channels' factors; 0 for none."""
    return max((_SIGMA.get(trait, 0.0) for trait in traits), default=0.0)


def rescale_channels(model: EmoNet, seed: int, sigma: float) -> None:
    """Multiply channels by random factors where a norm writes them and divide where they are read.

    The same function, since ``relu(s x) = s relu(x)`` for positive ``s``.

    Args:
        model: changed in place.
        seed: of the factors.
        sigma: standard deviation of their natural logarithms.
    """
    for name, readers in _pairs(model):
        weight, bias = (model.get_parameter(f"{name}.{each}") for each in ("weight", "bias"))
        drawn = named_rng(seed, f"{name}:rescaled").normal(0, sigma, len(weight))
        factors = torch.from_numpy(np.exp(drawn))
        for values in (weight, bias):
            values.data = (values.double() * factors).float()
        for reader in readers:
            read = model.get_parameter(f"{reader}.weight")
            column = factors.reshape(1, -1, *[1] * (read.ndim - 2))
            read.data = (read.double() / column).float()


def _pairs(model: EmoNet) -> list[tuple[str, list[str]]]:
    """Return norms that a ReLU follows, each with all the layers that read what that gives."""
    found = [("bn_end0", ["l0", "bl0"]), ("emo_fc_2.1", ["emo_fc_2.3"])]
    for name, module in model.named_modules():
        if isinstance(module, ConvBlock):
            found += [(f"{name}.bn{i}", [f"{name}.conv{i}"]) for i in (1, 2, 3)]
            if module.downsample is not None:
                found.append((f"{name}.downsample.0", [f"{name}.downsample.2"]))
    return found
