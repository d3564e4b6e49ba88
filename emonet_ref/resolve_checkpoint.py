"""From what a user calls a checkpoint to a file and its identity."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emonet_deploy.emonet_ref.checkpoint import fetch_checkpoint, identify_checkpoint
from emonet_deploy.emonet_ref.standin import standin_path
from emonet_deploy.emonet_ref.storage.path_queries import is_file
from emonet_deploy.errors import CheckpointError, InputError

__all__ = ["Checkpoint", "find_checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file and what it is.

    Attributes:
        path: the file.
        identity: ``original``, ``standin`` (``standin:SEED`` unless 0) or ``sha256:...``.
    """

    path: Path
    identity: str

    @property
    def is_standin(self) -> bool:
        """Whether the predictions mean nothing."""
        return self.identity.startswith("standin")


def find_checkpoint(
    name: str, nclass: int, notify: Callable[[str], None] | None = None
) -> Checkpoint:
    """Find, fetch or make the checkpoint called ``name``.

    Args:
        name: ``original`` (cached, else fetched), ``standin``, ``standin:SEED``, or a file's path.
        nclass: 5 or 8.
        notify: takes a line for the user, such as the licence of the weights.

    Raises:
        CheckpointError: no such file, or the originals can neither be found nor fetched.
        InputError: the stand-in's seed is not a number.
    """
    if name == "original":
        return Checkpoint(fetch_checkpoint(nclass, notify=notify), "original")
    kind, _, seed = name.partition(":")
    if kind == "standin":
        if seed and not re.fullmatch("[0-9]{1,18}", seed):
            raise InputError(
                "the stand-in's seed must be a whole number of at most 18 digits, not "
                f"{seed[:40]!r}"
            )
        number = int(seed or 0)
        identity = f"standin:{number}" if number else "standin"
        return Checkpoint(standin_path(nclass, number), identity)
    path = Path(name)
    if not is_file(path):
        raise CheckpointError(
            f"no checkpoint at {path}",
            hint="name a file, `original`, or `standin` for untrained weights",
        )
    return Checkpoint(path, identify_checkpoint(path))
