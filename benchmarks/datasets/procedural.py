"""A procedural AffectNet: drawn faces, in AffectNet's layout, that anyone may have.

A model that has not learned from drawings is not to be judged by what was drawn. The labels are
therefore drawn around the outputs of the float32 reference itself, in such a way that it scores
about what the paper prints and that every sample passes the paper's cleaning. What an artifact
loses against its reference is then visible in every metric; the metrics themselves say nothing
about emotions.
"""

import json
import pickle
import shutil
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from emonet_deploy.benchmarks.accuracy.protocol import evaluate
from emonet_deploy.benchmarks.datasets.affectnet_pickle import is_consistent
from emonet_deploy.benchmarks.datasets.base import CLASS_OF, Dataset, Sample
from emonet_deploy.benchmarks.metrics.paper_metrics import Floats
from emonet_deploy.emonet_ref.constants import PUBLISHED
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_folder, exclusive
from emonet_deploy.emonet_ref.storage.path_access import (
    exists,
    is_file,
    why,
)
from emonet_deploy.emonet_ref.synthetic.faces import Face, make_faces
from emonet_deploy.errors import DatasetError
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.pipeline.preprocess import landmark_box

__all__ = ["make_procedural"]

FACES_SEED: Final = 243_000_000
"""Far from the seeds of the faces that make, calibrate and judge artifacts."""

CHUNK: Final = 48
MIN_CHUNK: Final = 16
MAX_WASTE: Final = 8
"""Faces drawn for each sample at most; with the stand-in it takes about two."""


def make_procedural(
    root: str | PathLike[str],
    reference: Session,
    n: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    advice: str = "free some space or name another place",
) -> None:
    """Write ``n`` samples as ``test_fullpath.pkl`` and the folder ``test``; all or nothing.

    Args:
        root: a folder that is absent or empty.
        reference: the model the labels are drawn around.
        n: how many samples, at least 1.
        seed: of faces and labels.
        progress: told how many samples are ready, and of how many.
        advice: what the user can do where the folder cannot be written.

    Raises:
        DatasetError: the folder holds something, cannot be written, or no labels can be found.
    """
    final = Path(root)
    if n < 1:
        raise DatasetError(f"a data set has at least one sample, not {n}")
    if is_file(final) or not _is_free(final):
        raise DatasetError(f"{final} is not empty; name a new folder")
    with exclusive(final, DatasetError, advice):
        if not _is_free(final):
            raise DatasetError(f"{final} is not empty; name a new folder")
        with atomic_folder(final, DatasetError, advice) as made:
            _fill(made, reference, n, seed, progress)


def _is_free(folder: Path) -> bool:
    try:
        return not exists(folder) or not any(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"cannot read {folder}: {why(error)}") from error


def _fill(
    root: Path, reference: Session, n: int, seed: int, progress: Callable[[int, int], None]
) -> None:
    pictures, drawn = root / "test", root / "drawn"
    pictures.mkdir(parents=True)
    nclass = reference.info.nclass
    labels: _Labels | None = None
    records: dict[str, Any] = {}
    part = used = 0
    while len(records) < n:
        if used > MAX_WASTE * max(n, MIN_CHUNK):
            raise DatasetError(
                f"labels fit only {len(records)} of {used} faces: the checkpoint's outputs vary "
                "too little"
            )
        # About half of the stand-in's faces find a label; the first chunk gives the spread, too.
        wanted = 2 * (n - len(records)) if part else n
        faces = make_faces(min(CHUNK, max(wanted, MIN_CHUNK)), FACES_SEED + 1000 * seed + part)
        part, used = part + 1, used + len(faces)
        outputs = _outputs(drawn, faces, reference)
        if labels is None:
            labels = _Labels(nclass, outputs, np.random.default_rng((seed, nclass)))
        for number, (face, output) in enumerate(zip(faces, outputs, strict=True)):
            label = labels.draw(*output)
            if label is None or len(records) == n:
                continue
            path = f"{len(records) // 1000}/{len(records):06d}.png"
            (pictures / path).parent.mkdir(exist_ok=True)
            (drawn / f"{number}.png").rename(pictures / path)
            records[path] = _record(face, *label)
        progress(len(records), n)
    shutil.rmtree(drawn)
    (root / "test_fullpath.pkl").write_bytes(pickle.dumps(records, protocol=4))
    about = {"procedural": True, "checkpoint": reference.info.checkpoint, "nclass": nclass}
    text = json.dumps({**about, "n": n, "seed": seed}, indent=2)
    (root / "about.json").write_text(text + "\n", encoding="utf-8")


def _record(face: Face, expression: int, valence: float, arousal: float) -> dict[str, Any]:
    # Lists and not arrays: a pickled array of NumPy 2 cannot be read with NumPy 1.
    return {
        "expression": expression,
        "expression_correct": True,
        "valence": valence,
        "arousal": arousal,
        "landmarks_fan": face.landmarks.tolist(),
    }


def _outputs(folder: Path, faces: list[Face], reference: Session) -> Floats:
    """Return class, valence and arousal of faces by the protocol itself, from their files."""
    folder.mkdir(exist_ok=True)
    samples = []
    for number, face in enumerate(faces):
        _, png = cv2.imencode(".png", cv2.cvtColor(face.image, cv2.COLOR_RGB2BGR))
        (folder / f"{number}.png").write_bytes(png.tobytes())
        x0, y0, x1, y1 = landmark_box(face.landmarks).tolist()
        samples.append(Sample(f"{number}.png", 0, 0.0, 0.0, (x0, y0, x1, y1)))
    dataset = Dataset("drawn faces", folder, reference.info.nclass, tuple(samples))
    found = evaluate(reference, dataset).prediction
    return np.column_stack([found.expression, found.valence, found.arousal])


class _Labels:
    """Draws truth for predictions: correlated as in the paper, consistent as its cleaning asks."""

    def __init__(self, nclass: int, outputs: Floats, rng: np.random.Generator) -> None:
        target = PUBLISHED[nclass]
        # AffectNet's number of each of the model's classes.
        self._expressions = sorted(CLASS_OF[nclass])
        self._mean, self._spread = outputs[:, 1:].mean(0), outputs[:, 1:].std(0)
        self._correlation = np.array([target.valence.CCC, target.arousal.CCC], np.float64)
        self._accuracy = target.ACC or 0.0
        self._rng = rng
        self._right = self._wrong = 0

    def draw(self, predicted: float, *emotion: float) -> tuple[int, float, float] | None:
        """Return (expression, valence, arousal), or None where no label would fit."""
        # Equal means and spreads make CCC and PCC the same, as they are in the paper.
        noise = self._rng.normal(size=2) * self._spread * np.sqrt(1 - self._correlation**2)
        truth = self._mean + self._correlation * (emotion - self._mean) + noise
        valence, arousal = truth.clip(-1, 1).tolist()
        fitting = [e for e in self._expressions if is_consistent(e, valence, arousal)]
        own = self._expressions[int(predicted)]
        others = [e for e in fitting if e != own]
        kept = self._right + self._wrong
        if own in fitting and self._right <= self._accuracy * kept:
            self._right += 1
            return own, valence, arousal
        if others and self._wrong < (1 - self._accuracy) * (kept + 1):
            self._wrong += 1
            return int(self._rng.choice(others)), valence, arousal
        return None
