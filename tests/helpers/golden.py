"""Weights and images of the golden files, made as the specification says, apart from the model."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emonet_deploy.emonet_ref.model import EmoNet

DATA = Path(__file__).parents[1] / "data"


def load(name: str) -> Any:
    """Return a file of ``tests/data``: a dict of arrays from ``.npz``, anything from ``.json``."""
    path = DATA / name
    if path.suffix == ".json":
        return json.loads(path.read_text())
    with np.load(path) as arrays:
        return dict(arrays)


def shapes(nclass: int) -> dict[str, tuple[int, ...]]:
    """Return the published state dict's keys and shapes, in its order."""
    keys = {key: tuple(shape) for key, shape in load("state_dict_8.json").items()}
    return keys | {"emo_fc_2.3.weight": (nclass + 2, 128), "emo_fc_2.3.bias": (nclass + 2,)}


def weights(nclass: int, weight_seed: int) -> dict[str, Tensor]:
    """Return a whole float32 state dict; every entry has a generator of its own."""
    return {key: _weight(key, shape, weight_seed) for key, shape in shapes(nclass).items()}


def _weight(key: str, shape: tuple[int, ...], weight_seed: int) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    digest = hashlib.sha256(f"{weight_seed}:{key}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))
    if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
        values = rng.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        values = rng.normal(0, 0.1, shape)
    else:
        values = rng.normal(0, np.sqrt((1 / 3) / np.prod(shape[1:])), shape)
    return torch.from_numpy(values.astype(np.float32))


def images(n: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return n x 256 x 256 x 3 uint8: 8 x 8 random corners, enlarged bilinearly."""
    rng = np.random.Generator(np.random.PCG64(seed))
    small = rng.choice([0.0, 255.0], (n, 8, 8, 3)).astype(np.float32)
    at = np.clip((np.arange(256) + 0.5) * 8 / 256 - 0.5, 0, 7)
    low = at.astype(int)
    high = np.minimum(low + 1, 7)
    weight = (at - low).astype(np.float32)
    rows, columns = weight[:, None, None], weight[:, None]
    tall = small[:, low] * (1 - rows) + small[:, high] * rows
    full = tall[:, :, low] * (1 - columns) + tall[:, :, high] * columns
    return np.clip(np.rint(full), 0, 255).astype(np.uint8)


def tensor(crops: npt.NDArray[np.uint8]) -> Tensor:
    """Return crops as the network sees them: float32 N x 3 x 256 x 256 in [0, 1]."""
    return torch.from_numpy(crops.astype(np.float32) / 255).permute(0, 3, 1, 2).contiguous()


def model(nclass: int) -> EmoNet:
    """Return the network with the golden weights, in eval mode."""
    net = EmoNet(nclass)
    net.load_state_dict(weights(nclass, int(load(f"forward_{nclass}.npz")["weight_seed"])))
    return net.eval()
