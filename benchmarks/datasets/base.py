"""What an evaluation needs to know of its samples, wherever they come from."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from pathlib import Path, PurePath
from typing import Final, SupportsFloat, SupportsIndex

import numpy as np

from emonet_deploy.benchmarks.metrics.paper_metrics import Labels
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.errors import DatasetError

__all__ = ["CLASS_OF", "Dataset", "Sample", "number", "path_guard", "unit_number"]

CLASS_OF: Final[dict[int, dict[int, int]]] = {
    8: {expression: expression for expression in range(8)},
    # Fear, disgust and contempt are not in the model's set; anger moves up.
    5: {0: 0, 1: 1, 2: 2, 3: 3, 6: 4},
}
"""By number of classes: AffectNet's expression -> the model's class."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A face in a picture, and what is true of it."""

    path: str
    """Picture, relative to the data set's picture folder."""
    expression: int
    """Class of the model, or ``NO_EXPRESSION``."""
    valence: float
    arousal: float
    box: tuple[float, float, float, float] | None
    """x0, y0, x1, y1 of the landmarks in pixels; None if the picture is a face crop."""


@dataclass(frozen=True)
class Dataset:
    """At least one sample, in the order of their source, which gives each its number."""

    name: str
    pictures: Path
    """Folder the samples' paths start from."""
    nclass: int
    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        if not self.samples:
            raise DatasetError(
                f"{self.name}: no sample is left to evaluate; check its labels for the classes "
                + ", ".join(CLASS_NAMES[self.nclass])
            )

    def __len__(self) -> int:
        return len(self.samples)

    def first(self, n: int) -> "Dataset":
        """Return the data set of the first ``n`` samples."""
        return replace(self, samples=self.samples[:n])

    def fingerprint(self) -> str:
        """Return a SHA-256 of the samples and everything that is true of them."""
        digest = hashlib.sha256(f"{self.nclass}".encode())
        for sample in self.samples:
            digest.update(repr(astuple(sample)).encode())
        return digest.hexdigest()

    def labels(self) -> Labels:
        """Return the truth of all samples."""
        return Labels(
            np.array([sample.expression for sample in self.samples], np.int64),
            np.array([sample.valence for sample in self.samples], np.float64),
            np.array([sample.arousal for sample in self.samples], np.float64),
        )


def path_guard(pictures: Path) -> Callable[[str], str]:
    """Return a function that passes a relative path on if it stays inside ``pictures``.

    It resolves each folder once, so that a hundred thousand samples cost no noticeable time. It
    raises DatasetError for an absolute path, ``..``, and a symbolic link to outside.
    """
    root = pictures.resolve()
    stays: dict[PurePath, bool] = {}

    def resolves_inside(path: PurePath) -> bool:
        return (pictures / path).resolve().is_relative_to(root)

    def check(path: str) -> str:
        relative = PurePath(path)
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise DatasetError(f"the path {path!r} is no Unicode text; rename the file") from error
        if relative.is_absolute() or relative.drive or ".." in relative.parts or "\0" in path:
            raise DatasetError(f"the path {path!r} leaves {pictures}; give paths inside it")
        if relative.parent not in stays:
            stays[relative.parent] = resolves_inside(relative.parent)
        linked = (pictures / relative).is_symlink()
        if not stays[relative.parent] or (linked and not resolves_inside(relative)):
            raise DatasetError(f"the path {path!r} links to outside {pictures}; copy it there")
        return path

    return check


def number(value: object, field: str) -> float:
    """Return a finite number that may be written as text.

    Raises:
        DatasetError: it is none; the message names the field.
    """
    try:
        if not isinstance(value, str | SupportsFloat | SupportsIndex):
            raise TypeError
        found = float(value)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{field} is {value!r}, which is no number") from error
    if not math.isfinite(found):
        raise DatasetError(f"{field} is {found}, which is not finite")
    return found


def unit_number(value: object, field: str) -> float:
    """Return a number in [-1, 1] that may be written as text; see `number`."""
    found = number(value, field)
    if abs(found) > 1:
        raise DatasetError(f"{field} is {found:g}, which is outside [-1, 1]")
    return found
