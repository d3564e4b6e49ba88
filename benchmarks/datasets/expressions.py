"""Emotions as data sets write them: AffectNet's numbers, and names."""

from collections.abc import Mapping
from typing import Final

from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.errors import DatasetError

__all__ = ["UNKNOWN", "expression_number"]

UNKNOWN: Final[Mapping[int, str]] = {
    8: "none of the eight emotions (8)",
    9: "an uncertain emotion (9)",
    10: "no face (10)",
}
"""AffectNet's numbers for pictures that show none of the eight emotions."""

_SYNONYMS: Final[Mapping[str, int]] = {
    name: number
    for number, names in {
        0: "neutral neutrality",
        1: "happy happiness joy joyful",
        2: "sad sadness",
        3: "surprise surprised",
        4: "fear afraid fearful scared",
        5: "disgust disgusted",
        6: "anger angry",
        7: "contempt contemptuous",
        8: "none",
        9: "uncertain unknown",
        10: "no-face noface non-face nonface no_face",
    }.items()
    for name in names.split()
}


def expression_number(text: str) -> int | None:
    """Return AffectNet's number, 0 to 10, of an emotion; None where the text is empty.

    Args:
        text: the number, or a name such as ``happy``, ``Happiness`` or ``joy``.

    Raises:
        DatasetError: it is neither.
    """
    word = text.strip().lower()
    if not word:
        return None
    if word in _SYNONYMS:
        return _SYNONYMS[word]
    whole = word.removesuffix(".0")
    if whole.isascii() and whole.isdecimal() and len(whole) <= 2 and int(whole) <= max(UNKNOWN):
        return int(whole)
    raise DatasetError(
        f"expression is {text.strip()[:40]!r}, which is none of 0 to 10 and no name such as "
        + ", ".join(CLASS_NAMES[8])
    )
