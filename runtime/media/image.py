"""Picture files and arrays as RGB uint8."""

import os
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.image_size import FORMATS, picture_size

__all__ = ["MAX_PIXELS", "as_rgb_uint8", "read_image"]

MAX_PIXELS: Final = 100_000_000
"""Pictures with more pixels are refused before they are decoded (300 MB)."""

Image = NDArray[np.uint8]


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read a picture file as RGB, turned upright as its EXIF orientation says.

    Grey becomes RGB, of 16 bits the upper 8 are kept, and transparency is dropped: hidden pixels
    show the colour they carry.

    Args:
        path: a JPEG, PNG, WebP, BMP, GIF (first frame) or TIFF (first page) file.

    Returns:
        uint8 height x width x 3.

    Raises:
        InputError: no such file, no picture, a damaged one, or one of over ``MAX_PIXELS``.
    """
    if not Path(path).is_file():
        raise InputError(f"no picture at {os.fspath(path)}; check the path")
    try:
        with open(path, "rb") as file:
            size = picture_size(file)
            if size is None:
                raise InputError(f"{path} is not a {FORMATS} picture; convert it to one")
            width, height = size
            if not 0 < width * height <= MAX_PIXELS:
                raise InputError(
                    f"{path} has {width} x {height} pixels; give 1 to {MAX_PIXELS:,} pixels"
                )
            file.seek(0)
            data = np.frombuffer(file.read(), np.uint8)
        # From memory: OpenCV cannot open every non-ASCII path on Windows.
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except cv2.error as error:
        raise InputError(f"{path} is damaged: {error.err}; replace it") from error
    if decoded is None:
        raise InputError(f"{path} is damaged or cut short; replace it")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def as_rgb_uint8(image: ArrayLike) -> Image:
    """Return a picture array as RGB uint8.

    Args:
        image: height x width (grey) or height x width x channels with 1 (grey), 2 (grey, alpha),
            3 (RGB) or 4 (RGB, alpha) channels; uint8, uint16 (the upper 8 bits are kept) or
            floating point in [0, 1]. Alpha is dropped.

    Returns:
        uint8 height x width x 3; a view, perhaps a read-only one, where nothing had to change.

    Raises:
        InputError: any other shape, type or range.
    """
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise InputError(
            f"a picture is height x width x 3 (RGB), not {' x '.join(map(str, array.shape))}; "
            "give one picture, channels last"
        )
    channels = array.shape[2]
    array = array[..., : 1 if channels < 3 else 3]
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # also false for NaN
            raise InputError("a floating-point picture must lie in [0, 1]; scale it or give uint8")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise InputError(f"a picture is uint8, uint16 or floating point, not {array.dtype}")
    return np.broadcast_to(array, (*array.shape[:2], 3)) if channels < 3 else array
