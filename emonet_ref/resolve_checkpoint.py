"""From what a user calls a checkpoint to a file and its identity."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emonet_deploy.emonet_ref.checkpoint import fetch_checkpoint, identify_checkpoint
from emonet_deploy.emonet_ref.standin import parse_standin, standin_name, standin_path
from emonet_deploy.emonet_ref.storage.path_access import is_file
from emonet_deploy.errors import CheckpointError

__all__ = ["Checkpoint", "find_checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file and what it is.

    Attributes:
        path: the file.
        identity: ``original``, a stand-in's name (see ``standin_name``) or ``sha256:...``.
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
        name: ``original`` (cached, else fetched), ``standin``, ``standin:SEED[:TRAIT...]``
            or a file's path.
        nclass: 5 or 8.
        notify: takes a line for the user, such as the licence of the weights.

    Raises:
        CheckpointError: no such file, or the originals can neither be found nor fetched.
        InputError: the stand-in's seed is not a number, or a trait is none.
    """
    if name == "original":
        return Checkpoint(fetch_checkpoint(nclass, notify=notify), "original")
    if name.partition(":")[0] == "standin":
        seed, traits = parse_standin(name)
        return Checkpoint(standin_path(nclass, seed, traits), standin_name(seed, traits))
    path = Path(name)
    if not is_file(path):
        raise CheckpointError(
            f"no checkpoint at {path}",
            hint="name a file, `original`, or `standin` for untrained weights",
        )
    return Checkpoint(path, identify_checkpoint(path))
