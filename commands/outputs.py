"""Outputs are looked at before the work: no input is overwritten, and each can be written."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from emonet_deploy.emonet_ref.storage.atomic_write import require_writable
from emonet_deploy.emonet_ref.storage.path_access import exists, is_dir, is_file, resolve, why
from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.registry import SUFFIXES
from emonet_deploy.runtime.metadata import sidecar_path

__all__ = ["check_outputs"]

StrPath = str | os.PathLike[str]


def check_outputs(
    outputs: Iterable[StrPath | None],
    inputs: Iterable[StrPath | None],
    *,
    kept: Iterable[StrPath] = (),
    force: bool = True,
) -> None:
    """Raise unless every output may be written: told before the first second of work.

    Args:
        outputs: files that will be written; None for those that are not wanted.
        inputs: what the command reads: files, folders, addresses or names of checkpoints; None for
            what was not named. A file that is there already in such a folder is an input, too.
        kept: further outputs, which go on from what is there already, or know their own kind; they
            may lie in such a folder.
        force: whether a file that exists may be replaced.

    Raises:
        InputError: an output is an input, under whatever name; two outputs are the same file; one
            is a folder, exists, or cannot be written.
    """
    named = [path for path in inputs if path is not None]
    read = {_identity(path) for each in named for path in _files(each)}
    folders = [resolve(path) for path in named if is_dir(path)]
    new = [Path(path) for path in outputs if path is not None]
    wanted = [*new, *map(Path, kept)]
    taken = set()
    for number, path in enumerate(wanted):
        identity, shown = _identity(path), readable(str(path))
        _require_name(path, shown)
        if identity in read:
            raise InputError(f"{shown} is an input", hint="an output needs another name")
        if identity in taken:
            raise InputError(f"{shown} is named for two outputs", hint="give each its own name")
        if is_dir(path):
            raise InputError(f"{shown} is a folder", hint="name a file")
        if exists(path) and not force:
            raise InputError(f"{shown} exists", hint="name another file or add --force")
        inside = any(resolve(path).is_relative_to(folder) for folder in folders)
        if inside and number < len(new) and is_file(path):
            raise InputError(
                f"{shown} lies among what is read", hint="name a file outside of that folder"
            )
        taken.add(identity)
    # One file in each folder: annotated copies are thousands.
    for path in {path.parent: path for path in wanted}.values():
        _try(path)


def _try(path: Path) -> None:
    """Make sure that a file can be written, and leave no folder where there was none."""
    made = [folder for folder in path.parents if not exists(folder)]
    try:
        require_writable(path)
    finally:
        for folder in made:  # the innermost first
            with suppress(OSError):
                folder.rmdir()


def _files(path: StrPath) -> Iterator[StrPath]:
    yield path
    if Path(path).suffix.lower() in SUFFIXES["engine"]:
        yield sidecar_path(path)


def _require_name(path: Path, shown: str) -> None:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except ValueError as error:
        raise InputError(f"cannot write {shown}: a name holds no NUL byte") from error
    except OSError as error:
        raise InputError(
            f"cannot write {shown}: {why(error)}", hint="name another place"
        ) from error


def _identity(path: StrPath) -> tuple[int, int] | Path:
    """Return what is equal for two names of one file: links of both kinds lead to one."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return resolve(path)
    return about.st_dev, about.st_ino
