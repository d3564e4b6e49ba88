"""What ``emonet predict`` prints: a row per face of a picture, a row per identity of a clip."""

import sys
from collections import Counter
from dataclasses import dataclass, field

from emonet_deploy.commands.console import print_table, show
from emonet_deploy.runtime.output.sinks import Sink
from emonet_deploy.runtime.output.table_formats import Table
from emonet_deploy.runtime.pipeline.pipeline import FrameResult

__all__ = ["Tables"]

_PICTURES = ("file", "face", "expression", "probability", "valence", "arousal", "box")
_CLIPS = (
    "file", "face", "frames", "from s", "to s", "expression", "share", "valence", "arousal",
)  # fmt: skip
_ALIGN = {_PICTURES: "lllrrrr", _CLIPS: "llrrrlrrr"}
_ROWS = 1000  # A terminal's table is set this many rows at a time.

Row = tuple[str, ...]


@dataclass
class _Seen:
    """What was seen of one identity of a clip."""

    start: float
    end: float = 0.0
    expressions: Counter[str] = field(default_factory=Counter)
    valence: float = 0.0
    arousal: float = 0.0

    def row(self, source: str, identity: int) -> Row:
        frames = self.expressions.total()
        [(expression, count)] = self.expressions.most_common(1)
        return (
            source, str(identity), str(frames), f"{self.start:.2f}", f"{self.end:.2f}",
            expression, f"{count / frames:.0%}",
            f"{self.valence / frames:+.3f}", f"{self.arousal / frames:+.3f}",
        )  # fmt: skip


class Tables(Sink):
    """Prints results as they come; its end prints what is left.

    The valence and arousal of a clip's identity are means over its frames, its expression is the
    most frequent one, with its share of the frames.
    """

    def __init__(self) -> None:
        self._columns: Row = ()
        self._rows: list[Row] = []
        self._clip = ""
        self._frames = 0
        self._seen: dict[int, _Seen] = {}

    def append(self, result: FrameResult) -> None:
        """Take in a result."""
        frame = result.frame
        if self._clip and frame.source != self._clip:
            self._end_clip()
        if frame.time is None:
            for row in _picture_rows(result):
                self._print(_PICTURES, row)
            return
        self._clip = frame.source
        self._frames += 1
        for face in result.faces:
            seen = self._seen.setdefault(face.identity, _Seen(frame.time))
            seen.end = frame.time
            seen.expressions[face.prediction.expression] += 1
            seen.valence += face.prediction.valence
            seen.arousal += face.prediction.arousal

    def _finish(self) -> None:
        if self._clip:
            self._end_clip()
        self._set()

    def _end_clip(self) -> None:
        for identity, seen in sorted(self._seen.items()):
            self._print(_CLIPS, seen.row(self._clip, identity))
        if not self._seen:
            nothing = ("no face", *("-",) * 5)
            self._print(_CLIPS, (self._clip, "-", str(self._frames), *nothing))
        self._clip, self._frames, self._seen = "", 0, {}

    def _print(self, columns: Row, row: Row) -> None:
        if columns != self._columns:
            self._set()
            self._columns = columns
            if not sys.stdout.isatty():
                show(*columns)
        if not sys.stdout.isatty():
            show(*row)
            return
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self._set()

    def _set(self) -> None:
        if self._rows:
            print_table(Table(self._columns, self._rows, _ALIGN[self._columns]))
            self._rows.clear()


def _picture_rows(result: FrameResult) -> list[Row]:
    source = result.frame.source
    rows: list[Row] = [
        (
            source,
            str(face.identity),
            face.prediction.expression,
            f"{face.prediction.probabilities[face.prediction.expression]:.2f}",
            f"{face.prediction.valence:+.3f}",
            f"{face.prediction.arousal:+.3f}",
            " ".join(f"{side:.0f}" for side in face.box),
        )
        for face in result.faces
    ]
    return rows or [(source, "-", "no face", "-", "-", "-", "-")]
