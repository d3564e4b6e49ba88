"""What a file that is meant as a checkpoint is, told by its content; needs no PyTorch."""

import os
import re
import zipfile
from pathlib import Path
from typing import Final

from emonet_deploy.emonet_ref.storage.path_access import open_file

__all__ = [
    "HEAD",
    "LEGACY_MAGIC",
    "ZIP_MAGIC",
    "describe_content",
    "is_checkpoint",
    "is_safetensors",
]

HEAD: Final = 64
"""How many bytes from its start tell a file's kind."""

ZIP_MAGIC: Final = b"PK\x03\x04"
LEGACY_MAGIC: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of a file that torch.save wrote before version 1.6 or with its old format."""

_ENDINGS: Final = (".pth", ".pt", ".ckpt", ".pth.tar", ".safetensors")
_MAX_HEADER: Final = 100_000_000
"""Bytes of the description at the start of a safetensors file, as its specification says."""


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a checkpoint, or is called like one.

    The content decides, whatever the file is called: an archive that ``torch.save`` wrote, its
    older format, or safetensors. A file that cannot be read or is none of these counts by its
    ending, so that whoever opens it as a checkpoint says what is wrong with it.
    """
    try:
        with open_file(path) as file:
            head = file.read(HEAD)
            if head.startswith(LEGACY_MAGIC) or is_safetensors(head):
                return True
            if head.startswith(ZIP_MAGIC):
                with zipfile.ZipFile(file) as archive:
                    return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        pass
    return os.fspath(path).lower().endswith(_ENDINGS)


def is_safetensors(head: bytes) -> bool:
    """Tell whether a file that starts with ``head`` is of the safetensors format."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER


def describe_content(path: Path, head: bytes) -> str:
    """Say what a file is that is no checkpoint, by its name and first bytes."""
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
