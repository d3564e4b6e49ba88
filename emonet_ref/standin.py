"""A checkpoint anyone can make: EmoNet with random weights, brought into a working range.

The authors' weights may not be redistributed, so tests and first runs need another checkpoint.
The stand-in has the architecture, the size and the cost of the real one, and its outputs vary from
face to face, but **its predictions mean nothing**. Nothing in it is tuned to be easy to quantise;
random weights lose more to low precision than trained ones do.

Recipe, revision ``REVISION``:

1. Every weight is drawn from its own NumPy generator, seeded by the seed and the weight's name:
   convolutions and linear layers from He's normal distribution (He et al., "Delving deep into
   rectifiers", 2015), norms at weight 1 and bias 0, other biases 0.
2. One pass over 24 procedural faces, in which every BatchNorm normalises by, and keeps, the mean
   and variance of its own input.
3. The rows of the last linear layer are scaled and shifted so that over these faces each logit
   has mean 0 and standard deviation 1, valence and arousal mean 0 and standard deviation 0.5.

``standin_traits`` has what may be added to make it harder, as trained weights are.
"""

import io
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.emonet_ref.standin_stamp import stamped, stamped_identity
from emonet_deploy.emonet_ref.standin_traits import (
    TRAITS,
    draw_weight,
    named_rng,
    rescale_channels,
    rescaling,
    set_norms,
)
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write, require_writable
from emonet_deploy.emonet_ref.storage.cache import CACHE_ADVICE, cache_dir
from emonet_deploy.emonet_ref.storage.path_access import is_file
from emonet_deploy.emonet_ref.synthetic.faces import STANDIN_SEED, crops, make_faces
from emonet_deploy.errors import CheckpointError, InputError

__all__ = ["make_standin", "parse_standin", "standin_name", "standin_path"]

_LOGGER = logging.getLogger(__name__)

REVISION: Final = 2
"""Part of the cached file's name. Raise it when the recipe, or the faces, change."""

FACES: Final = 24
LOGIT_SPREAD: Final = 1.0
EMOTION_SPREAD: Final = 0.5
MOST_TRAITS: Final = 3


def make_standin(nclass: int = 8, seed: int = 0, traits: Iterable[str] = ()) -> EmoNet:
    """Make the stand-in: about 20 s and 2.5 GB of memory on two cores. See ``standin_path``.

    Args:
        nclass: 5 or 8.
        seed: of the weights; the faces are the same for every seed.
        traits: of ``TRAITS``.

    Returns:
        The model in eval mode, float32, on the CPU, with gradients off.

    Raises:
        ValueError: ``nclass`` is neither 5 nor 8.
    """
    chosen = frozenset(traits)
    # Torch initialises the layers from its global generator, which is the caller's.
    with torch.random.fork_rng(devices=[]):
        model = EmoNet(nclass).requires_grad_(False)
    model.load_state_dict(_random_state(model, seed, chosen))
    images = torch.from_numpy(crops(make_faces(FACES, STANDIN_SEED)))
    with torch.no_grad():
        _calibrate(model, images.permute(0, 3, 1, 2).float() / 255)
    if sigma := rescaling(chosen):
        rescale_channels(model, seed, sigma)
    return model.eval()


def standin_name(seed: int = 0, traits: Iterable[str] = ()) -> str:
    """Return a stand-in's identity: ``standin``, ``standin:SEED`` or ``standin:SEED:TRAIT...``."""
    ordered = sorted(set(traits))
    return ":".join(["standin", *([str(seed)] if seed or ordered else []), *ordered])


def parse_standin(name: str) -> tuple[int, tuple[str, ...]]:
    """Return the seed and the traits of a stand-in's name.

    Raises:
        InputError: the seed is not a number, a trait is none, or there are more than three.
    """
    _, *parts = name.split(":")
    seed, traits = (parts[0] if parts else ""), parts[1:]
    if seed and not re.fullmatch("[0-9]{1,18}", seed):
        raise InputError(
            f"the stand-in's seed must be a whole number of at most 18 digits, not {seed[:40]!r}"
        )
    unknown = [trait for trait in traits if trait not in TRAITS]
    if unknown or len(traits) > MOST_TRAITS:
        raise InputError(
            f"a stand-in has at most {MOST_TRAITS} traits of {', '.join(TRAITS)}",
            hint="such as --checkpoint standin:0:rescaled",
        )
    return int(seed or 0), tuple(sorted(set(traits)))


def standin_path(nclass: int = 8, seed: int = 0, traits: Iterable[str] = ()) -> Path:
    """Return the cached stand-in's checkpoint, a plain state dict; make it when it is absent.

    A file that does not say that it is this stand-in, as it is damaged or of an older version, is
    made anew. A second process that wants the same file waits for the first.

    Args:
        nclass: 5 or 8.
        seed: of the weights.
        traits: of ``TRAITS``.

    Raises:
        CheckpointError: the cache folder cannot be written; told before the stand-in is made.
        ValueError: ``nclass`` is neither 5 nor 8.
    """
    identity = standin_name(seed, traits)
    stem = "_".join([f"standin_{nclass}_seed{seed}", *sorted(set(traits))])
    path = cache_dir() / f"{stem}_r{REVISION}.pth"

    def is_ready() -> bool:
        return is_file(path) and stamped_identity(path) == identity

    if is_ready():
        _LOGGER.info("stand-in from the cache: %s", path)
        return path
    require_writable(path, CheckpointError, CACHE_ADVICE)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if not is_ready():
            _LOGGER.info("making the stand-in, once, as %s", path)
            state = stamped(make_standin(nclass, seed, traits).state_dict(), identity)
            # In memory first: PyTorch's writer reports a full disk as a failed assertion.
            content = io.BytesIO()
            torch.save(state, content)
            with atomic_write(path, CheckpointError, CACHE_ADVICE) as temporary:
                temporary.write_bytes(content.getbuffer())
    return path


def _random_state(
    model: EmoNet, seed: int, traits: frozenset[str] = frozenset()
) -> dict[str, Tensor]:
    """Draw every convolution and linear weight, of He's variance; the rest is at rest."""
    state = {}
    for key, tensor in model.state_dict().items():
        if tensor.ndim >= 2:
            he = float(np.sqrt(2 / tensor[0].numel()))
            values = draw_weight(tuple(tensor.shape), he, named_rng(seed, key), traits)
            state[key] = torch.from_numpy(values).float()
        else:
            at_one = key.endswith((".weight", ".running_var"))
            state[key] = torch.full_like(tensor, 1 if at_one else 0)
    set_norms(state, seed, traits)
    return state


def _calibrate(model: EmoNet, images: Tensor) -> None:
    """Set the norms' statistics and the last layer from one batch of faces, in place."""
    last = model.emo_fc_2[3]
    assert isinstance(last, nn.Linear)
    features: list[Tensor] = []
    hooks = [last.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))]
    hooks += [
        norm.register_forward_pre_hook(_measure)
        for norm in model.modules()
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    try:
        model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()

    values = last(features[0]).double()
    spread = torch.full((model.nclass + 2,), LOGIT_SPREAD, dtype=torch.float64)
    spread[-2:] = EMOTION_SPREAD
    gain = spread / values.std(0, correction=0)
    gain = _rounded(gain, gain)
    last.weight.mul_(gain[:, None])
    last.bias.copy_(_rounded(-values.mean(0) * gain, spread))


def _measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
    """Set a norm's statistics to those of its input, just before it uses them."""
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    x = inputs[0]
    # Per image and channel first: those sums are short enough for float32.
    variances, means = torch.var_mean(x.reshape(*x.shape[:2], -1), 2, correction=0)
    variances, means = variances.double(), means.double()
    mean = means.mean(0)
    variance = (variances + means.square()).mean(0) - mean.square()
    norm.running_mean = _rounded(mean, variance.sqrt()).float()
    norm.running_var = _rounded(variance, variance).float()


def _rounded(values: Tensor, scale: Tensor) -> Tensor:
    """Round to a power of two between 1/128 and 1/64 of ``scale``.

    Machines sum in different orders, so statistics differ in the seventh digit from one to the
    next. Rounding this coarsely, before the next layer sees them, makes nearly every machine
    arrive at the same file, bit for bit; the norms are then off by under 1%, which is harmless.
    """
    step = torch.exp2(torch.floor(torch.log2(scale)) - 6)
    return torch.round(values / step) * step
