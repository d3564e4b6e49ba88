"""The file behind a name, brought here first where it lies in an object store."""

from pathlib import Path
from shutil import copyfileobj
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emonet_deploy.batch.files.filesystems import filesystem_of
from emonet_deploy.emonet_ref.storage.path_access import exists, is_dir
from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.errors import InputError, one_line
from emonet_deploy.runtime.media.image import decode_image, read_image
from emonet_deploy.runtime.media.inputs import VIDEO_SUFFIXES, Source, expand_inputs

__all__ = ["fetch", "is_called_clip", "picture_of"]


def is_called_clip(file: str) -> bool:
    """Return whether a name or address ends as those of videos do."""
    path = urlsplit(file).path if "://" in file else file
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def fetch(file: str, folder: Path, index: int) -> Source:
    """Return a file that is there.

    Args:
        file: its name or address.
        folder: what lies in an object store is copied there.
        index: tells the copy from others in that folder.

    Raises:
        InputError: it cannot be had.
    """
    source = _located(file, folder, index)
    if source.problem is not None:
        raise InputError(source.problem)
    return source


def picture_of(source: Source, file: str) -> NDArray[np.uint8]:
    """Decode a picture that was fetched, called in errors what the user called it.

    Raises:
        InputError: no picture that can be used.
    """
    if "://" not in file:
        return read_image(source.path)
    return decode_image(source.path.read_bytes(), file)


def _located(file: str, folder: Path, index: int) -> Source:
    if "://" not in file:
        shown = readable(file)
        if is_dir(file):
            raise InputError(f"{shown} is a folder, in which no picture or video was found")
        if not exists(file) and set(file) & set("*?["):  # and is not looked for as a pattern again
            raise InputError(f"{shown} does not exist; check the name")
        return next(iter(expand_inputs([file])))
    system, path_there = filesystem_of(file)
    here = folder / f"{index}{Path(path_there).suffix}"
    try:
        with system.open_input_stream(path_there) as stream, here.open("wb") as copy:
            copyfileobj(stream, copy)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {file}: {one_line(error)}") from error
    return next(iter(expand_inputs([str(here)])))
