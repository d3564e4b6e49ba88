"""Checkpoints: the authors' own, fetched and told by their hash, and any other, loaded strictly."""

import hashlib
import logging
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.emonet_ref.storage.cache import cache_dir
from emonet_deploy.emonet_ref.storage.download import Progress, download
from emonet_deploy.emonet_ref.storage.files import sha256_file
from emonet_deploy.errors import CheckpointError

__all__ = ["LICENCE", "fetch_checkpoint", "identify_checkpoint", "load_checkpoint"]

_LOGGER = logging.getLogger(__name__)

WEIGHTS_URL: Final = "https://raw.githubusercontent.com/face-analysis/emonet/49eef30/pretrained"
"""Folder of the authors' checkpoints, at the commit whose hashes are pinned here."""

GIT_BLOB_SHA1: Final = {
    5: "61358cb3ea0fe410c01ee4ffff5ed1b49713af98",
    8: "6833bfdcf8fc761deb7630256a750cf1f7c850c1",
}
"""Hash of the authors' checkpoints by number of classes, as git computes it."""

LICENCE: Final = (
    "The EmoNet weights are the work of Toisoul, Kossaifi, Bulat, Tzimiropoulos and Pantic, under "
    "CC BY-NC-ND 4.0 (https://creativecommons.org/licenses/by-nc-nd/4.0): name the authors, no "
    "commercial use, no sharing of changed versions. The toolkit's own licence does not cover them."
)

NCLASS_KEY: Final = "emo_fc_2.3.weight"
COUNTER: Final = "num_batches_tracked"
ZIP_MAGIC: Final = b"PK\x03\x04"
LEGACY_MAGIC: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of a file that torch.save wrote before version 1.6 or with its old format."""


def load_checkpoint(path: str | os.PathLike[str], nclass: int | None = None) -> EmoNet:
    """Load an EmoNet whose number of classes is read from the weights.

    The file is a state dict written by ``torch.save``, plain or under the key ``state_dict``; keys
    may start with ``module.``. Only tensors, containers and numbers are read: code in a file is
    never run. Extra keys are left out with one warning; weights of other floating-point types
    become float32.

    Args:
        path: the checkpoint.
        nclass: the number of classes it must have; None takes either.

    Returns:
        The model on the CPU, in eval mode.

    Raises:
        CheckpointError: the file cannot be read, is no checkpoint, holds code, is damaged, lacks a
            weight, or holds one of another shape or type or that is not finite.
    """
    path = Path(path)
    weights = _state_dict(_read(path), path)
    model = _empty_model(weights, nclass, path)
    expected = model.state_dict()
    extra = [key for key in weights if key not in expected]
    if extra:
        warnings.warn(
            f"{path}: left out {len(extra)} entries that EmoNet does not have: {', '.join(extra)}",
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

    if path.is_file() and is_original(path):
        _LOGGER.info("weights from the cache: %s", path)
        return path
    if notify is not None:
        notify(LICENCE)
    base = base_url or os.environ.get("EMONET_WEIGHTS_URL") or WEIGHTS_URL
    download(
        f"{base.rstrip('/')}/{path.name}",
        path,
        is_original,
        progress=progress,
        error=CheckpointError,
        hint=f"check the network, put your own copy at {path}, name a mirror in EMONET_WEIGHTS_URL,"
        " or use the stand-in (--checkpoint standin) or another file (--checkpoint PATH)",
    )
    return path


def identify_checkpoint(path: str | os.PathLike[str]) -> str:
    """Return ``original`` for a checkpoint of the authors, else ``sha256:`` and 64 digits.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        if _git_blob_sha1(Path(path)) in GIT_BLOB_SHA1.values():
            return "original"
        return f"sha256:{sha256_file(path)}"
    except OSError as error:
        raise _unreadable(Path(path), error) from error


def _git_blob_sha1(path: Path) -> str:
    with open(path, "rb") as file:
        header = b"blob %d\0" % os.fstat(file.fileno()).st_size
        return hashlib.file_digest(
            file, lambda: hashlib.sha1(header, usedforsecurity=False)
        ).hexdigest()


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    if isinstance(error, FileNotFoundError):
        return CheckpointError(f"no such file: {path}; check the name of the checkpoint")
    if isinstance(error, IsADirectoryError):
        return CheckpointError(f"{path} is a folder; name the checkpoint file in it")
    return CheckpointError(f"cannot read {path}: {error.strerror or error}; check its permissions")


def _read(path: Path) -> object:
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what counts is whether it loads
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a parser of pickles may raise anything on bytes that are none
        raise CheckpointError(f"{path} {_diagnosis(path, head, str(error))}") from error


def _diagnosis(path: Path, head: bytes, message: str) -> str:
    """Say what is wrong with a file that torch cannot load, and what to do."""
    if not head:
        return "is empty; copy or download the checkpoint again"
    code = re.search(r"GLOBAL ([\w.]+)", message)
    if code:
        return (
            f"holds code ({code[1]}) and was not opened; ask its maker for the plain weights: "
            "torch.save(model.state_dict(), ...)"
        )
    if head.startswith(LEGACY_MAGIC) or (
        head.startswith(ZIP_MAGIC) and not zipfile.is_zipfile(path)
    ):
        return "is truncated or damaged; copy or download it again"
    return f"is not a checkpoint: {_kind(path, head)}; name a file that torch.save wrote"


def _kind(path: Path, head: bytes) -> str:
    text = head.lstrip().lower()
    if path.suffix.lower() == ".onnx" or re.match(rb"\x08[\x01-\x20][\x12\x3a]", head):
        return "it is an ONNX model"
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        return "it is an image"
    if text.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file it stands for"
    if head.startswith(ZIP_MAGIC):
        return "it is a zip archive of something else, or damaged"
    if head.startswith(b"\x80"):
        return "it is a pickle of something else, and opening those may run code"
    return "its content is of another kind"


def _state_dict(content: object, path: Path) -> dict[str, Any]:
    """Return the weights by their names in ``EmoNet``, not yet checked."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path} is not a checkpoint: it holds a {type(content).__name__}, not a state dict;"
            " save model.state_dict()"
        )
    weights = {str(key).removeprefix("module."): value for key, value in content.items()}
    if len(weights) < len(content):
        raise CheckpointError(
            f"{path} holds weights both with and without 'module.' before their names;"
            " keep one set of them"
        )
    return weights


def _empty_model(weights: Mapping[str, Any], nclass: int | None, path: Path) -> EmoNet:
    last = weights.get(NCLASS_KEY)
    if last is None:
        raise _missing(NCLASS_KEY, path)
    found = last.shape[0] - 2 if isinstance(last, Tensor) and last.ndim else None
    if found not in CLASS_NAMES:
        raise CheckpointError(
            f"{path} is of no EmoNet: '{NCLASS_KEY}' is {_form(last)}, not 7 x 128 or 10 x 128;"
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
