"""Picture files and arrays as RGB uint8."""

import io
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from threading import Lock
from typing import Any, BinaryIO, Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from emonet_deploy.emonet_ref.storage.path_access import open_file, why
from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.content import HEAD, describe_content, is_heif, media_kind

__all__ = ["MAX_PIXELS", "as_rgb_uint8", "decode_image", "read_image"]

MAX_PIXELS: Final = 100_000_000
"""Pictures with more pixels are refused before they are decoded (300 MB)."""

MAX_BYTES: Final = 1 << 30
"""Larger files are refused before they are read; 100 million pixels of 48 bits have 600 MB."""

Image = NDArray[np.uint8]

_FORMATS: Final = "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or JPEG 2000"
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
# Pillow's readers that neither run programs nor unfold other files.
_READERS: Final = (
    "JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "HEIF",
)  # fmt: skip
_QUIET: Final = Lock()  # The filter of warnings belongs to all threads.


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read a picture file as RGB, turned upright as its EXIF orientation says.

    Grey becomes RGB, of 16 bits the upper 8 are kept, and transparency is dropped: hidden pixels
    show the colour they carry. OpenCV decodes; Pillow tells the size before, and decodes what
    OpenCV cannot (HEIC, where ``pillow-heif`` is installed).

    Args:
        path: a JPEG, PNG, WebP, BMP, GIF (first frame), TIFF (first page), AVIF, JPEG 2000 or HEIC
            file, whatever its name.

    Returns:
        uint8 height x width x 3.

    Raises:
        InputError: no such file, no picture, a damaged one, or one of over ``MAX_PIXELS``.
    """
    name = readable(os.fspath(path))
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise InputError(f"{name} has {size:,} bytes; give at most {MAX_BYTES:,}")
            _check_size(file, name)
            file.seek(0)
            data = file.read(size)  # MAX_BYTES would be allocated, whatever the file holds
    except FileNotFoundError as error:
        raise InputError(f"no picture at {name}; check the path") from error
    except OSError as error:
        raise InputError(f"cannot read {name}: {why(error)}; check the path") from error
    return _decode_checked(data, name)


def decode_image(data: bytes, name: str) -> Image:
    """Decode the bytes of a picture file; see ``read_image``.

    Args:
        data: the whole file.
        name: what it is called in errors.

    Raises:
        InputError: no picture, a damaged one, or one of over ``MAX_PIXELS``.
    """
    _check_size(io.BytesIO(data), name)
    return _decode_checked(data, name)


def _check_size(file: BinaryIO, name: str) -> None:
    head = file.read(HEAD)
    if is_heif(head) and not _heif_reader():
        raise InputError(f"{name} is a HEIC picture; pip install pillow-heif to read it")
    size = _announced_size(file, head)
    if size is None:
        raise InputError(f"{name} {_no_picture(head)}")
    width, height = size
    if not 0 < width * height <= MAX_PIXELS:
        raise InputError(f"{name} has {width} x {height} pixels; give 1 to {MAX_PIXELS:,} pixels")


def _decode_checked(data: bytes, name: str) -> Image:
    # From memory: OpenCV cannot open every name.
    decoded = _decode(data)
    if decoded is None:
        decoded = _decode_unfinished(data) if data.startswith(_JPEG) else _by_pillow(data, name)
    if decoded is None:
        raise InputError(f"{name} is damaged or cut short; replace it")
    return decoded


def _no_picture(head: bytes) -> str:
    what = describe_content(head)
    if media_kind(head) == "picture":
        return "is damaged or cut short; replace it"
    if what == "empty":
        return "is empty; copy or download the picture again"
    if what == "a video":
        return "is a video; give it the ending of one, as .mp4"
    return f"is not a {_FORMATS} picture: it is {what}; replace it or convert it to one of these"


def _announced_size(file: BinaryIO, head: bytes) -> tuple[int, int] | None:
    """Return (width, height) as the header states them, None where no header can be read."""
    picture = _open(file, head)
    if picture is not None:
        return picture.size
    # OpenCV passes over damaged metadata that Pillow refuses.
    if head.startswith(_PNG) and head[12:16] == b"IHDR" and len(head) >= 24:
        width, height = struct.unpack(">II", head[16:24])
        return width, height
    if head.startswith(_JPEG):
        file.seek(0)
        # An eighth of each side is decoded without the pixels of the whole.
        small = _decode(file.read(), cv2.IMREAD_REDUCED_COLOR_8)
        return None if small is None else (8 * small.shape[1], 8 * small.shape[0])
    return None


def _open(file: BinaryIO, head: bytes) -> Pillow.Image | None:
    """Return a picture of which only the header was read, None where no reader takes it.

    ``PIL.Image.open`` would do, but it has a limit of its own, which warns and hides the size.
    """
    Pillow.init()
    for name in _READERS:
        make, accepts = Pillow.OPEN.get(name, (None, None))
        if make is None or (accepts is not None and accepts(head) is not True):
            continue
        file.seek(0)
        with _quietly():
            return make(file, "")
    return None


def _decode(data: bytes, flags: int = cv2.IMREAD_COLOR) -> Image | None:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    if decoded is None:
        return None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _decode_unfinished(data: bytes) -> Image | None:
    """Decode a JPEG without its end marker if all its pixels are there.

    Where pixels are missing, they depend on what is put in their place.
    """
    data = data.rstrip(b"\xff")
    first, second = (_decode(data + fill * 64 + b"\xff\xd9") for fill in (b"\x00", b"\x35\xc6"))
    if first is None or second is None or not np.array_equal(first, second):
        return None
    return first


def _by_pillow(data: bytes, name: str) -> Image | None:
    # What OpenCV refuses of these is damaged.
    if data.startswith(_PNG):
        return None
    picture = _open(io.BytesIO(data), data[:HEAD])
    if picture is None:
        return None
    if picture.mode in {"F", "I"}:
        raise InputError(
            f"{name} holds {'floating-point' if picture.mode == 'F' else '32-bit'} values, whose "
            "range is not known; convert it to 8 or 16 bits"
        )
    decoded = None
    with _quietly():
        upright = ImageOps.exif_transpose(picture)
        deep = upright.mode.startswith("I;16")
        decoded = as_rgb_uint8(np.asarray(upright if deep else upright.convert("RGB")))
    return decoded  # noqa: RET504 - None where the block was left


@contextmanager
def _quietly() -> Iterator[None]:
    """Leave the block where Pillow fails: damaged files make it warn of, and raise, anything."""
    with _QUIET, warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        yield


@cache
def _heif_reader() -> bool:
    """Let Pillow read HEIC; return whether the package that does is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    register: Any = pillow_heif.register_heif_opener
    register()
    return True


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
    if image is None or isinstance(image, (str, bytes, os.PathLike)):
        given = "None" if image is None else "a file's name"
        raise InputError(
            f"a picture is an array of pixels, not {given}; read the file first: "
            "emonet_deploy.runtime.media.image.read_image(path)"
        )
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        shape = " x ".join(map(str, array.shape)) or "one value"
        raise InputError(
            f"a picture is height x width x 3 (RGB), not {shape}; give one picture, channels last"
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
