"""On which faces an artifact is judged, against which gates, and what the record says of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.parity.compare import PARITY_FACES, Parity, compare
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.emonet_ref.synthetic.faces import PARITY_SEED, crops, make_faces
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.metadata import ModelInfo
from emonet_deploy.runtime.precision_specs import Gates, gates_of

with needs("export", "read checkpoints"):
    from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint
    from emonet_deploy.export.quantization.calibrate import FEWEST, read_crops

__all__ = [
    "JudgedFaces",
    "change_gates",
    "judge",
    "judged_faces",
    "notes",
    "parity_crops",
    "with_record",
]

MOST: Final = 4 * PARITY_FACES
"""Faces on which a close decision is taken."""

CHANNEL_FACES: Final = 8
"""Faces on which the channels of every layer are compared."""


@dataclass(frozen=True)
class JudgedFaces:
    """Faces to judge on.

    Attributes:
        source: where they come from, for the record: ``procedural`` or a folder's name.
        first: N x 256 x 256 x 3, uint8 RGB.
        more: gives further ones for a close decision; None where there are none.
    """

    source: str
    first: NDArray[np.uint8]
    more: Callable[[], NDArray[np.uint8]] | None


def parity_crops(n: int) -> NDArray[np.uint8]:
    """Return drawn faces that no calibration has seen, n x 256 x 256 x 3."""
    return crops(make_faces(n, PARITY_SEED))


def judged_faces(
    folder: Path | None, n: int | None = None, seen: NDArray[np.uint8] | None = None
) -> JudgedFaces:
    """Return the faces of a folder, or drawn ones.

    Args:
        folder: of face crops, one a file; None for drawn faces.
        n: how many, with no more for a close decision; by default ``PARITY_FACES``, and more.
        seen: crops that a calibration has seen, which cannot judge it; None for none.

    Raises:
        InputError: the folder has too few faces besides those, or one cannot be read.
    """
    first = PARITY_FACES if n is None else n
    if folder is None:
        more = None if n is not None else lambda: parity_crops(MOST)[PARITY_FACES:]
        return JudgedFaces("procedural", parity_crops(first), more)
    known = set() if seen is None else {crop.tobytes() for crop in seen}
    found = read_crops(folder, MOST + len(known), "--faces")
    unseen = np.stack([crop for crop in found if crop.tobytes() not in known] or [found[0]])
    if len(unseen) < FEWEST:
        raise InputError(
            f"{folder} has fewer than {FEWEST} faces that calibration has not seen",
            hint=f"name a folder of other faces with --faces, {PARITY_FACES} or more",
        )
    # Names may be in the order of classes or people.
    mixed = unseen[np.random.default_rng(0).permutation(len(unseen))]
    further = mixed[first:MOST]
    has_more = n is None and len(further) > 0
    return JudgedFaces(folder.name, mixed[:first], (lambda: further) if has_more else None)


def change_gates(gates: Gates, changes: Sequence[str]) -> Gates:
    """Return gates with other limits, given as ``NAME=VALUE``, such as ``ccc=0.98``.

    Raises:
        InputError: no such gate, or no number.
    """
    names = [field.name for field in fields(Gates)]
    for change in changes:
        name, _, text = change.strip().partition("=")
        try:
            limit = float(text)
        except ValueError:
            limit = float("nan")
        if name not in names or not np.isfinite(limit):
            raise InputError(
                f"--gate takes one of {', '.join(names)} and a number, not {change[:40]!r}",
                hint="such as --gate ccc=0.98",
            )
        gates = replace(gates, **{name: limit})
    return gates


def judge(
    source: Checkpoint,
    reference: Session,
    candidate: Session,
    artifact: str,
    faces: JudgedFaces,
    changes: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Parity:
    """Compare an artifact with its reference: its outputs and, of an ONNX file, its layers.

    Args:
        source: of the reference.
        reference: the checkpoint, loaded.
        candidate: the artifact, loaded.
        artifact: its file or address.
        faces: to judge on.
        changes: of its gates, see ``change_gates``.
        progress: told how many faces are done, and of how many.
    """
    from emonet_deploy.benchmarks.parity.channels import compare_channels, judge_channels
    from emonet_deploy.emonet_ref.checkpoint import load_checkpoint

    gates = change_gates(gates_of(candidate.info.precision, candidate.info.target), changes)
    result = compare(reference, candidate, faces.first, gates, progress, faces.more)
    if not artifact.endswith(".onnx"):
        return result
    layers = compare_channels(load_checkpoint(source.path), artifact, faces.first[:CHANNEL_FACES])
    return replace(result, gates=result.gates | judge_channels(layers, gates))


def notes(source: Checkpoint, folder: Path | None) -> Iterator[str]:
    """Yield what a user should know of the faces that judge these weights."""
    if folder is None and not source.is_standin:
        yield (
            "note: judged on drawn faces, which these weights were not trained for; "
            "--faces DIR judges on face crops of yours"
        )


def with_record(info: ModelInfo, result: Parity, faces: JudgedFaces) -> ModelInfo:
    """Return an artifact's record with which gates held, and on which faces."""
    kept = {"n", "gates", "passed", "ties"}
    judged = {key: value for key, value in result.to_dict().items() if key in kept}
    return replace(info, parity={"faces": faces.source} | judged)
