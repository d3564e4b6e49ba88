"""JSON that others wrote, read within bounds: no depth, size or number that could hurt."""

import json
from typing import Any, Final, NoReturn

__all__ = ["MAX_DEPTH", "parse_json"]

MAX_DEPTH: Final = 32
"""Lists and objects within each other; the toolkit's own records have six."""


def parse_json(text: str, max_depth: int = MAX_DEPTH) -> Any:  # noqa: ANN401 - any JSON value
    """Return what JSON says.

    Raises:
        ValueError: it is no JSON, holds NaN, infinity or the same key twice, or is nested deeper
            than ``max_depth``.
    """
    try:
        value = json.loads(text, parse_constant=_no_number, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("its lists and objects are nested too deeply") from error
    level = [value]
    for _ in range(max_depth + 1):
        # One level after the other, because a recursion would end where the nesting does not.
        level = [outer for outer in level if isinstance(outer, dict | list)]
        if not level:
            return value
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    raise ValueError("its lists and objects are nested too deeply")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice, and readers differ on which one counts")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
