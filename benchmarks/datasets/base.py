"""What an evaluation needs to know of its samples, wherever they come from."""

import hashlib
import math
import os
import reprlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path, PurePath, PureWindowsPath
from typing import Final, SupportsFloat, SupportsIndex

import numpy as np

from emonet_deploy.benchmarks.metrics.paper_metrics import Labels
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.emonet_ref.storage.path_access import exists, resolve
from emonet_deploy.errors import DatasetError

__all__ = [
    "CLASS_OF",
    "Dataset",
    "LeftOut",
    "Sample",
    "number",
    "path_guard",
    "shown",
    "unit_number",
]

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


class LeftOut(Exception):  # noqa: N818 - no error, but a reason to go on with the next sample
    """A sample is not to be evaluated; the text says why, for all that share the reason."""


@dataclass(frozen=True)
class Dataset:
    """At least one sample, in the order of their source, which gives each its number.

    Attributes:
        name: as it is shown.
        pictures: folder the samples' paths start from.
        nclass: 5 or 8.
        samples: at least one.
        left_out: why annotations of the source are no samples, and how many for each reason.
        is_published: whether the published figures were measured on these very samples.
    """

    name: str
    pictures: Path
    nclass: int
    samples: tuple[Sample, ...]
    left_out: Mapping[str, int] = field(default_factory=Counter)
    is_published: bool = False

    def __post_init__(self) -> None:
        if not self.samples:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            raise DatasetError(
                f"{self.name}: no sample is left to evaluate"
                + (f" (left out: {reasons})" if reasons else "")
                + "; check its labels for the classes "
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
    """Return a function that gives a path inside ``pictures`` relative to it.

    Paths may be written as on Windows, and absolute where they lead into the folder. The function
    resolves each folder once, so that a hundred thousand samples cost no noticeable time. It raises
    DatasetError for ``..``, an absolute path or a symbolic link to outside, and what is no text.
    """
    root = resolve(pictures)
    stays: dict[PurePath, bool] = {}

    def resolves_inside(path: PurePath) -> bool:
        return resolve(pictures / path).is_relative_to(root)

    def check(path: str) -> str:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise DatasetError(f"the path {path!r} is no Unicode text; rename the file") from error
        relative = _relative(path, pictures, root)
        if relative is None:
            raise DatasetError(f"the path {shown(path)} leaves {pictures}; give paths inside it")
        if relative.parent not in stays:
            stays[relative.parent] = resolves_inside(relative.parent)
        linked = os.path.islink(pictures / relative)
        if not stays[relative.parent] or (linked and not resolves_inside(relative)):
            raise DatasetError(f"the path {shown(path)} links to outside {pictures}; copy it there")
        return relative.as_posix()

    return check


def _relative(path: str, pictures: Path, root: Path) -> PurePath | None:
    """Return a path as one that starts from the folder; None where it does not lead into it."""
    found = PurePath(path)
    # On Linux a backslash may be part of a name, but hardly ever is.
    if "\\" in path and "\0" not in path and not exists(pictures / found):
        found = PurePath(PureWindowsPath(path).as_posix())
    if found.is_absolute() or found.drive:
        for start in (pictures, root):
            if found.is_relative_to(start):
                found = found.relative_to(start)
                break
        else:
            return None
    windows = PureWindowsPath(path).drive != ""
    return None if windows or ".." in found.parts or "\0" in path else found


def shown(value: object) -> str:
    """Return what a value of whatever size and depth looks like, in at most 100 characters."""
    text = _SHORT.repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST: Final = 100
_SHORT: Final = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 80, 80


def number(value: object, field: str) -> float:
    """Return a finite number that may be written as text.

    Raises:
        DatasetError: it is none; the message names the field.
    """
    try:
        if not isinstance(value, str | SupportsFloat | SupportsIndex):
            raise TypeError
        found = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{field} is {shown(value)}, which is no number") from error
    if not math.isfinite(found):
        raise DatasetError(f"{field} is {found}, which is not finite")
    return found


def unit_number(value: object, field: str) -> float:
    """Return a number in [-1, 1] that may be written as text; see `number`."""
    found = number(value, field)
    if abs(found) > 1:
        raise DatasetError(f"{field} is {found:g}, which is outside [-1, 1]")
    return found
