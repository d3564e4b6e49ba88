"""AFEW-VA: film clips, annotated frame by frame (Kossaifi et al. 2017).

``ROOT/NNN`` holds the frames of a clip as ``00000.png`` ... and ``NNN.json``, whose ``frames`` give
for each ``valence`` and ``arousal``, whole numbers from -10 to 10, and 68 ``landmarks`` in pixels.
The data set may be unpacked as the parts it comes in, a folder each, or all in one.
"""

import os
from collections import Counter
from os import PathLike
from pathlib import Path
from typing import Any, Final

from emonet_deploy.benchmarks.choices import Split
from emonet_deploy.benchmarks.datasets.base import Dataset, LeftOut, Sample, number, unit_number
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.emonet_ref.constants import NUM_LANDMARKS
from emonet_deploy.emonet_ref.storage.bounded_json import parse_json
from emonet_deploy.emonet_ref.storage.path_access import is_dir, is_file, read_text, why
from emonet_deploy.errors import DatasetError, InputError
from emonet_deploy.runtime.pipeline.preprocess import landmark_box

__all__ = ["find_clips", "read_afew_va"]

MAX_SIZE: Final = 64 << 20
SCALE: Final = 10.0
"""Valence and arousal go from -10 to 10."""


def find_clips(root: Path) -> list[Path]:
    """Return the folders of clips, which hold a JSON file of their own name, below ``root``."""
    found: list[Path] = []
    try:
        for folder in (root, *sorted(p for p in root.iterdir() if is_dir(p))):
            if is_file(folder / f"{folder.name}.json"):
                found.append(folder)
            elif folder != root:
                found += sorted(
                    clip for clip in folder.iterdir() if is_file(clip / f"{clip.name}.json")
                )
    except OSError as error:
        raise DatasetError(f"cannot read {root}: {why(error)}; check --data") from error
    return found


def read_afew_va(root: str | PathLike[str], nclass: int = 8, split: Split = "test") -> Dataset:
    """Read the annotations of all clips; the data set has one split and no expressions.

    No picture is opened. Frames without a picture are left out, and counted.

    Raises:
        DatasetError: a file is damaged, a value impossible, or no sample is left.
    """
    root = Path(root)
    samples: list[Sample] = []
    left_out: Counter[str] = Counter()
    for clip in find_clips(root):
        annotations = clip / f"{clip.name}.json"
        try:
            there = {Path(name).stem: name for name in os.listdir(clip) if name.endswith(_PICTURE)}
            content = parse_json(read_text(annotations, MAX_SIZE))
            frames = content["frames"] if isinstance(content, dict) else None
            if not isinstance(frames, dict):
                raise ValueError("it has no frames")
        except OSError as error:
            raise DatasetError(f"cannot read {annotations}: {why(error)}; check --data") from error
        except (ValueError, KeyError) as error:
            raise DatasetError(f"{annotations} is damaged or not of AFEW-VA ({error})") from error
        for name, frame in sorted(frames.items()):
            try:
                if name not in there:
                    raise LeftOut("without a picture")
                path = (clip / there[name]).relative_to(root).as_posix()
                samples.append(_sample(path, frame))
            except LeftOut as reason:
                left_out[str(reason)] += 1
            except (DatasetError, InputError) as error:
                raise DatasetError(f"{annotations}, frame {name}: {error}") from error
    return Dataset("AFEW-VA", root, nclass, tuple(samples), left_out)


_PICTURE: Final = (".png", ".jpg")


def _sample(path: str, frame: Any) -> Sample:  # noqa: ANN401 - any JSON value
    if not isinstance(frame, dict):
        raise DatasetError("it is no set of annotations")
    valence, arousal = (
        unit_number(number(frame.get(axis), axis) / SCALE, f"a tenth of {axis}")
        for axis in ("valence", "arousal")
    )
    points = frame.get("landmarks")
    if not isinstance(points, list) or len(points) != NUM_LANDMARKS:
        raise DatasetError(f"landmarks are not {NUM_LANDMARKS} points")
    pairs = []
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            raise DatasetError("a landmark is no pair of numbers")
        pairs.append([number(value, "a landmark's coordinate") for value in point])
    x0, y0, x1, y1 = landmark_box(pairs).tolist()
    if x0 == x1 or y0 == y1:
        raise DatasetError("landmarks span no area")
    return Sample(path, NO_EXPRESSION, valence, arousal, (x0, y0, x1, y1))
