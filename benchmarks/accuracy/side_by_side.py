"""Results of ``emonet eval`` beside each other: ``python -m ... fp32.json fp16.json int8.json``."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["table"]


def table(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each metric and a column for each result, headings included."""
    axes = {axis: results[0][axis] for axis in ("expression", "valence", "arousal")}
    head = ["metric", *(f"{result['backend']} {result['precision']}" for result in results)]
    return [head] + [
        [f"{axis} {metric}", *(_number(result[axis][metric]) for result in results)]
        for axis, metrics in axes.items()
        for metric in metrics
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    loaded = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    for row in table(loaded):
        print("".join(cell.ljust(18) for cell in row).rstrip())
