"""AffectNet's later release: a number for each picture, an array file for each annotation.

``ROOT/val_set`` (or ROOT itself) holds ``images/N.jpg`` and ``annotations/N_exp.npy`` (expression),
``N_val.npy``, ``N_aro.npy`` and ``N_lnd.npy`` (68 x 2 landmarks). The pictures are faces cut out
and scaled to 224 x 224 by the data set's authors, with the landmarks in their pixels.
"""

import io
import os
from collections import Counter
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.choices import Split
from emonet_deploy.benchmarks.datasets.base import (
    CLASS_OF,
    Dataset,
    LeftOut,
    Sample,
    number,
    unit_number,
)
from emonet_deploy.benchmarks.datasets.expressions import UNKNOWN, expression_number
from emonet_deploy.emonet_ref.constants import NUM_LANDMARKS
from emonet_deploy.emonet_ref.storage.path_access import (
    is_dir,
    read_bytes,
    why,
)
from emonet_deploy.errors import DatasetError, InputError
from emonet_deploy.runtime.pipeline.preprocess import landmark_box

__all__ = ["find_arrays", "read_affectnet_arrays"]

MAX_SIZE: Final = 1 << 20
MISSING: Final = -2.0
"""Valence and arousal of pictures without an emotion."""


def find_arrays(root: Path) -> Path | None:
    """Return the folder of the release that has the annotations, if ``root`` is or holds one."""
    for folder in (root, root / "val_set"):
        if is_dir(folder / "images") and is_dir(folder / "annotations"):
            return folder
    return None


def read_affectnet_arrays(
    root: str | PathLike[str], nclass: int = 8, split: Split = "test"
) -> Dataset:
    """Read the annotations; the validation set is the only one to evaluate on, for any split.

    No picture is opened. What is left out is counted: expressions that the model does not know, no
    emotion at all, and annotations without a picture.

    Raises:
        DatasetError: a file is missing or damaged, a value impossible, or no sample is left.
    """
    folder = find_arrays(Path(root))
    if folder is None:
        raise DatasetError(f"{root} does not hold the folders images and annotations")
    try:
        pictures = {Path(name).stem: name for name in os.listdir(folder / "images")}
        names = sorted(
            (
                name.removesuffix("_exp.npy")
                for name in os.listdir(folder / "annotations")
                if name.endswith("_exp.npy")
            ),
            key=lambda name: (len(name), name),
        )
    except OSError as error:
        raise DatasetError(f"cannot read {folder}: {why(error)}; check --data") from error
    samples: list[Sample] = []
    left_out: Counter[str] = Counter()
    for name in names:
        try:
            if name not in pictures:
                raise LeftOut("without a picture")
            samples.append(_sample(folder / "annotations", name, pictures[name], nclass))
        except LeftOut as reason:
            left_out[str(reason)] += 1
        except (DatasetError, InputError) as error:
            raise DatasetError(f"{folder}, sample {name}: {error}") from error
    return Dataset(f"AffectNet {folder.name}", folder / "images", nclass, tuple(samples), left_out)


def _sample(folder: Path, name: str, picture: str, nclass: int) -> Sample:
    expression = expression_number(_text(folder / f"{name}_exp.npy"))
    if expression is None or expression in UNKNOWN:
        raise LeftOut(f"labelled as {UNKNOWN.get(expression or 8)}")
    if expression not in CLASS_OF[nclass]:
        raise LeftOut("of an expression that the model does not know")
    emotion = {axis: _text(folder / f"{name}_{axis[:3]}.npy") for axis in ("valence", "arousal")}
    if any(number(value, axis) == MISSING for axis, value in emotion.items()):
        raise LeftOut("without valence and arousal (-2)")
    valence, arousal = (unit_number(value, axis) for axis, value in emotion.items())
    landmarks = _array(folder / f"{name}_lnd.npy")
    if landmarks.size != 2 * NUM_LANDMARKS:
        raise DatasetError(f"it has {landmarks.size} coordinates, not {2 * NUM_LANDMARKS}")
    x0, y0, x1, y1 = landmark_box(landmarks.reshape(-1, 2)).tolist()
    if x0 == x1 or y0 == y1:
        raise DatasetError("its landmarks span no area")
    return Sample(picture, CLASS_OF[nclass][expression], valence, arousal, (x0, y0, x1, y1))


def _text(path: Path) -> str:
    value = _array(path)
    if value.size != 1:
        raise DatasetError(f"{path.name} holds {value.size} values, not one")
    return str(value.item())


def _array(path: Path) -> NDArray[Any]:
    try:
        found = np.load(io.BytesIO(read_bytes(path, MAX_SIZE)), allow_pickle=False)
    except OSError as error:
        raise DatasetError(f"cannot read {path.name}: {why(error)}") from error
    except Exception as error:  # a damaged file can raise anything
        raise DatasetError(f"{path.name} is damaged or no array") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biufU":
        raise DatasetError(f"{path.name} holds no numbers")
    return found
