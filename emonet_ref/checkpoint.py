"""Checkpoints: the authors' own, fetched and told by their hash, and any other, loaded strictly."""

import functools
import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from emonet_deploy.emonet_ref.checkpoint_file import read_checkpoint_file, unreadable
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.emonet_ref.standin_stamp import stamped_identity
from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.emonet_ref.storage.cache import CACHE_ADVICE, cache_dir
from emonet_deploy.emonet_ref.storage.download import Progress, download
from emonet_deploy.emonet_ref.storage.path_access import is_file, open_file
from emonet_deploy.emonet_ref.unwrap_state_dict import LAST_WEIGHT, find_weights
from emonet_deploy.errors import CheckpointError

__all__ = ["LICENCE", "fetch_checkpoint", "identify_checkpoint", "load_checkpoint"]

_LOGGER = logging.getLogger(__name__)

WEIGHTS_URL: Final = (
    "https://raw.githubusercontent.com/face-analysis/emonet/"
    "49eef301513686d6cfd8304682d3ba7216baf398/pretrained"
)
"""Folder of the authors' checkpoints, at the commit whose hashes are pinned here."""

GIT_BLOB_SHA1: Final = {
    5: "61358cb3ea0fe410c01ee4ffff5ed1b49713af98",
    8: "6833bfdcf8fc761deb7630256a750cf1f7c850c1",
}
"""Hash of the authors' checkpoints by number of classes, as git computes it.

It covers the length as well. Forging a file for it takes a second preimage of SHA-1, which nobody
is near to. Whoever has the originals may add their SHA-256; they were not at hand here.
"""

MAX_DOWNLOAD: Final = 128 << 20
"""Bytes; the originals have some 58 million, all of them float32 weights."""

LICENCE: Final = (
    "The EmoNet weights are the work of Toisoul, Kossaifi, Bulat, Tzimiropoulos and Pantic, under "
    "CC BY-NC-ND 4.0 (https://creativecommons.org/licenses/by-nc-nd/4.0): name the authors, no "
    "commercial use, no sharing of changed versions. The toolkit's own licence does not cover them."
)

COUNTER: Final = "num_batches_tracked"
MAX_LISTED: Final = 5
MAX_NAME: Final = 80
"""How many superfluous entries are named, and with how many characters."""


def load_checkpoint(path: str | os.PathLike[str], nclass: int | None = None) -> EmoNet:
    """Load an EmoNet whose number of classes is read from the weights.

    The file is a state dict, plain or somewhere in a mapping, whose names may all start with those
    of the objects the network was part of (``module.``, ``_orig_mod.``, ``model.`` ...), written by
    ``torch.save`` or as safetensors. Only tensors, containers and numbers are read: code in a file
    is never run. Extra keys are left out with one warning; weights of other floating-point types
    become float32.

    Args:
        path: the checkpoint.
        nclass: the number of classes it must have; None takes either.

    Returns:
        The model on the CPU, in eval mode.

    Raises:
        CheckpointError: the file cannot be read, is no checkpoint, holds code, is damaged, holds
            several sets of weights, lacks a weight, or holds one of another shape or type or that
            is not finite.
        MissingDependencyError: it is of the safetensors format, and the package is not installed.
    """
    path = Path(path)
    weights = find_weights(read_checkpoint_file(path), path, _names())
    model = _empty_model(weights, nclass, path)
    expected = model.state_dict()
    extra = [key for key in weights if key not in expected]
    if extra:
        listed = [key if len(key) <= MAX_NAME else f"{key[:MAX_NAME]}..." for key in extra]
        more = f" and {len(extra) - MAX_LISTED} more" if len(extra) > MAX_LISTED else ""
        warnings.warn(
            f"{path}: left out {len(extra)} entries that EmoNet does not have: "
            f"{', '.join(listed[:MAX_LISTED])}{more}",
            stacklevel=2,
        )
    chosen = {
        key: own
        if key.endswith(COUNTER) and key not in weights
        else _checked(weights, key, own, path)
        for key, own in expected.items()
    }
    model.load_state_dict(chosen)
    return model.eval()


def fetch_checkpoint(
    nclass: int,
    *,
    base_url: str | None = None,
    notify: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return the authors' checkpoint in the cache, downloaded when it is not there yet.

    Args:
        nclass: 5 or 8.
        base_url: a mirror, the folder that holds ``emonet_5.pth`` and ``emonet_8.pth``; by default
            the environment variable ``EMONET_WEIGHTS_URL``, else the authors' repository.
        notify: given the licence of the weights, once, before they are downloaded.
        progress: see ``download``.

    Raises:
        CheckpointError: there is no such checkpoint, or it cannot be had; see ``download``.
    """
    if nclass not in GIT_BLOB_SHA1:
        raise CheckpointError(
            f"the authors have no checkpoint of {nclass} classes; choose {_either()}"
        )
    path = cache_dir() / f"emonet_{nclass}.pth"

    def is_original(file: Path) -> bool:
        return _git_blob_sha1(file) == GIT_BLOB_SHA1[nclass]

    if is_file(path) and is_original(path):
        _LOGGER.info("weights from the cache: %s", path)
        return path
    if notify is not None:
        notify(LICENCE)
    base = base_url or os.environ.get("EMONET_WEIGHTS_URL") or WEIGHTS_URL
    download(
        f"{base.rstrip('/')}/{path.name}",
        path,
        is_original,
        max_bytes=MAX_DOWNLOAD,
        progress=progress,
        error=CheckpointError,
        advice=CACHE_ADVICE,
        hint=f"check the network, put your own copy at {path}, name a mirror in EMONET_WEIGHTS_URL,"
        " or use the stand-in (--checkpoint standin) or another file (--checkpoint PATH)",
    )
    return path


def identify_checkpoint(path: str | os.PathLike[str]) -> str:
    """Return what a checkpoint is: ``original``, ``standin`` or the SHA-256 of its file.

    The authors' are told by their hash; stand-ins (``standin``, ``standin:SEED`` ...) by what they
    say of themselves, as long as their weights are those it was said of.

    Returns:
        ``original``, the stand-in's name, or ``sha256:`` and 64 digits.

    Raises:
        CheckpointError: the file cannot be read.
    """
    path = Path(path)
    try:
        if _git_blob_sha1(path) in GIT_BLOB_SHA1.values():
            return "original"
        return stamped_identity(path) or f"sha256:{sha256_file(path)}"
    except OSError as error:
        raise unreadable(path, error) from error


def _git_blob_sha1(path: Path) -> str:
    with open_file(path) as file:
        header = b"blob %d\0" % os.fstat(file.fileno()).st_size
        return hashlib.file_digest(
            file, lambda: hashlib.sha1(header, usedforsecurity=False)
        ).hexdigest()


@functools.cache
def _names() -> frozenset[str]:
    with torch.device("meta"):  # the names are wanted, not the weights
        return frozenset(EmoNet(8).state_dict())


def _empty_model(weights: Mapping[str, Any], nclass: int | None, path: Path) -> EmoNet:
    last = weights[LAST_WEIGHT]
    found = last.shape[0] - 2 if isinstance(last, Tensor) and last.ndim else None
    if found not in CLASS_NAMES:
        raise CheckpointError(
            f"{path} is of no EmoNet: '{LAST_WEIGHT}' is {_form(last)}, not 7 x 128 or 10 x 128;"
            f" name a checkpoint of {_either()} classes"
        )
    if nclass is not None and nclass != found:
        raise CheckpointError(
            f"{path} is of {found} classes, not of {nclass}; ask for {found} or name another file"
        )
    return EmoNet(found)


def _checked(weights: Mapping[str, Any], key: str, own: Tensor, path: Path) -> Tensor:
    """Return a weight in the shape and type of ``own``, the model's."""
    if key not in weights:
        raise _missing(key, path)
    value = weights[key]
    if not isinstance(value, Tensor) or value.shape != own.shape:
        raise CheckpointError(
            f"{path} is of another network: '{key}' is {_form(value)}, EmoNet's is {_form(own)};"
            " name a checkpoint of EmoNet"
        )
    usable = value.layout == torch.strided and not value.is_meta
    if not usable or value.is_floating_point() != own.is_floating_point():
        raise CheckpointError(
            f"{path}: '{key}' holds {value.dtype} values in {value.layout} layout, on"
            f" {value.device}; save it as plain {own.dtype}"
        )
    value = value.detach().to(own.dtype)
    # NumPy, because torch starts its threads for each of the 682 small tensors.
    if not np.isfinite(value.numpy()).all():
        raise CheckpointError(
            f"{path}: '{key}' holds NaN or infinite values; its training diverged or the file is"
            " damaged, so name another checkpoint"
        )
    return value


def _missing(key: str, path: Path) -> CheckpointError:
    return CheckpointError(f"{path} lacks the weight '{key}'; name a whole checkpoint of EmoNet")


def _form(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return " x ".join(map(str, value.shape)) or "a single number"


def _either() -> str:
    return " or ".join(map(str, sorted(CLASS_NAMES)))
