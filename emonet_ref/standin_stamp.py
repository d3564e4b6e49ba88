"""What a stand-in says of itself, inside its own file.

The file stays a plain state dict: the name lies in an attribute of the dict, which ``torch.save``
keeps and whoever asks for the weights does not see. The hash of the weights lies beside it, so that
weights that were changed, and saved with the attribute still there, are no stand-in any more.
"""

import hashlib
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from emonet_deploy.emonet_ref.checkpoint_file import read_checkpoint_file
from emonet_deploy.emonet_ref.storage.path_access import open_file
from emonet_deploy.errors import CheckpointError

__all__ = ["stamped", "stamped_identity"]

ATTRIBUTE: Final = "emonet_deploy"
_IDENTITY: Final = re.compile(r"standin(:[a-z0-9.-]{1,32}){0,4}")


def stamped(weights: Mapping[str, Tensor], identity: str) -> "OrderedDict[str, Tensor]":
    """Return weights as a state dict that says what it is, for ``torch.save``.

    Args:
        weights: by their names.
        identity: ``standin``, with ``:SEED`` or more where that is needed to make it again.
    """
    state = OrderedDict(weights)
    vars(state)[ATTRIBUTE] = {"identity": identity, "weights": _digest(state)}
    return state


def stamped_identity(path: Path) -> str | None:
    """Return what a checkpoint says that it is, if its weights are those it was said of.

    Raises:
        OSError: the file cannot be read.
    """
    if not _is_marked(path):
        return None
    try:
        state = read_checkpoint_file(path)
    except CheckpointError:
        return None
    mark = vars(state).get(ATTRIBUTE) if type(state) is OrderedDict else None
    if not isinstance(state, dict) or not isinstance(mark, dict):
        return None
    identity = mark.get("identity")
    known = isinstance(identity, str) and _IDENTITY.fullmatch(identity) is not None
    return identity if known and mark.get("weights") == _digest(state) else None


def _is_marked(path: Path) -> bool:
    """Tell, without loading a checkpoint, whether it may say what it is."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            return any(
                ATTRIBUTE.encode() in archive.read(name)
                for name in archive.namelist()
                if name.endswith("/data.pkl") and archive.getinfo(name).file_size < 1 << 24
            )
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, RuntimeError):
        return False


def _digest(state: dict[str, Any]) -> str:
    """Return a hash of names, types, shapes and values; empty where one is no plain tensor."""
    digest = hashlib.sha256()
    for name, value in sorted(dict.items(state), key=lambda item: str(item[0])):
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
            return ""
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
