"""AffectNet in the layout and with the cleaning rules of the published accuracy.

``ROOT/test_fullpath.pkl`` (or ``val_fullpath.pkl``) is a dict: picture path relative to
``ROOT/test`` (``ROOT/val``) -> annotations. Source: Toisoul et al. 2021 and the authors' public
repository.
"""

import math
from collections import Counter
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np

from emonet_deploy.benchmarks.choices import Split
from emonet_deploy.benchmarks.datasets.base import (
    CLASS_OF,
    Dataset,
    LeftOut,
    Sample,
    number,
    path_guard,
    shown,
    unit_number,
)
from emonet_deploy.benchmarks.datasets.safe_unpickle import load_pickle
from emonet_deploy.emonet_ref.constants import NUM_LANDMARKS
from emonet_deploy.emonet_ref.storage.path_access import is_dir, is_file
from emonet_deploy.errors import DatasetError, InputError
from emonet_deploy.runtime.pipeline.preprocess import landmark_box

__all__ = ["FIELDS", "Split", "is_consistent", "read_affectnet"]

FIELDS: Final = ("expression", "expression_correct", "valence", "arousal", "landmarks_fan")
MAX_POINTS: Final = 1000


def read_affectnet(root: str | PathLike[str], nclass: int = 8, split: Split = "test") -> Dataset:
    """Read the annotations of a split and keep the samples the paper evaluates.

    No picture is opened.

    Args:
        root: folder that holds ``<split>_fullpath.pkl`` and the folder ``<split>``.
        nclass: 5 or 8.
        split: which annotations.

    Raises:
        DatasetError: files are missing, the pickle holds anything but annotations, a sample lacks
            a field or has an impossible value, or none is left.
    """
    annotations, pictures = Path(root, f"{split}_fullpath.pkl"), Path(root, split)
    if not is_file(annotations) or not is_dir(pictures):
        raise DatasetError(
            f"{root} does not hold {annotations.name} and the folder {split}; give the root of "
            "AffectNet as the EmoNet authors lay it out, or a CSV table"
        )
    records = load_pickle(annotations)
    if not isinstance(records, dict):
        raise DatasetError(f"{annotations} does not hold a dict of annotations")
    inside = path_guard(pictures)
    samples: list[Sample] = []
    left_out: Counter[str] = Counter()
    for path, record in dict.items(records):  # a pickle's dicts may hide their methods
        if path == "folder":
            continue
        try:
            if not isinstance(path, str) or not isinstance(record, dict):
                raise DatasetError("not a path with a dict of annotations")
            samples.append(_sample(inside(path), record, CLASS_OF[nclass]))
        except LeftOut as reason:
            left_out[str(reason)] += 1
        except (DatasetError, InputError) as error:
            raise DatasetError(f"{annotations}, sample {shown(path)}: {error}") from error
    return Dataset(
        f"AffectNet {split}", pictures, nclass, tuple(samples), left_out, split == "test"
    )


def _sample(path: str, record: dict[object, object], class_of: Mapping[int, int]) -> Sample:
    missing = [field for field in FIELDS if field not in record]
    if missing:
        raise DatasetError(f"lacks {', '.join(missing)}")
    expression = number(record["expression"], "expression")
    correct = record["expression_correct"]
    if not isinstance(correct, bool | int) or correct not in {0, 1}:
        raise DatasetError(f"expression_correct is {shown(correct)}, not True or False")
    if not correct:
        raise LeftOut("whose expression the authors found wrong")
    if expression not in class_of:
        raise LeftOut("of an expression that the model does not know")
    valence, arousal = (number(record[name], name) for name in ("valence", "arousal"))
    if not is_consistent(int(expression), valence, arousal):
        raise LeftOut("whose valence and arousal do not fit the expression")
    # Only of what is kept: faces AffectNet calls uncertain carry -2.
    valence, arousal = unit_number(valence, "valence"), unit_number(arousal, "arousal")
    x0, y0, x1, y1 = landmark_box(_points(record["landmarks_fan"])).tolist()
    if x0 == x1 or y0 == y1:
        raise DatasetError("landmarks_fan span no area")
    return Sample(path, class_of[int(expression)], valence, arousal, (x0, y0, x1, y1))


def _points(value: object) -> Any:  # noqa: ANN401 - what `landmark_box` takes
    """Return landmarks for `landmark_box`; lists are looked at before NumPy counts what is in them.

    A list of one list, twice, of one list, twice ... is short and has a billion numbers in it.
    """
    if isinstance(value, list | tuple) and len(value) <= MAX_POINTS:
        pairs = [_pair(point) for point in value]
        if None not in pairs:
            return np.array(pairs, np.float64).reshape(-1, 2)
    elif value is None or hasattr(value, "__array__"):
        return value
    raise InputError(f"landmarks are {NUM_LANDMARKS} x 2 numbers, not {shown(value)}")


def _pair(point: object) -> tuple[float, float] | None:
    if hasattr(point, "__array__"):
        point = np.asarray(point)
        point = point.tolist() if point.shape == (2,) else None
    if not isinstance(point, list | tuple) or len(point) != 2:
        return None
    try:
        return number(point[0], "x"), number(point[1], "y")
    except DatasetError:
        return None


def is_consistent(expression: int, valence: float, arousal: float) -> bool:
    """Tell whether valence and arousal fit the expression: the paper's cleaning of AffectNet.

    Args:
        expression: AffectNet's number, 0 to 7.
        valence: in [-1, 1].
        arousal: in [-1, 1].
    """
    intensity = math.sqrt(valence**2 + arousal**2)
    match expression:
        case 0:  # neutral
            return intensity < 0.2
        case 1:  # happy
            return valence > 0 and intensity > 0.2
        case 2:  # sad
            return valence < 0 and intensity > 0.2
        case 3:  # surprise
            return arousal > 0 and intensity > 0.2
        case 4:  # fear
            return arousal >= 0 >= valence and intensity > 0.2
        case 5:  # disgust
            return valence < 0 and intensity > 0.3
        case 6:  # anger
            return arousal > 0 and intensity > 0.2
        case 7:  # contempt
            return valence < 0 and intensity > 0.2
    raise DatasetError(f"expression is {expression}, which is none of 0 to 7")
