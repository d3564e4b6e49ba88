"""A table, made once, and what it becomes: text, Markdown, HTML, a terminal's, lines with tabs.

Cells are shown as they are wherever that is possible. What would break the format (a tab in a file
name, ``|`` in Markdown) is written as an escape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from emonet_deploy.emonet_ref.storage.path_encoding import readable

if TYPE_CHECKING:
    import rich.table

__all__ = ["Table", "as_html", "as_markdown", "as_rich", "as_text"]


@dataclass(frozen=True)
class Table:
    """Rows under columns.

    Attributes:
        columns: the headings; empty for a table without.
        rows: cells, each shown as ``str`` gives it.
        align: ``l`` or ``r`` for each column; by default the first to the left, the rest to the
            right, as figures stand.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    align: str = ""

    def alignment(self) -> str:
        """Return ``l`` or ``r`` for each column."""
        width = len(self.columns) or max(map(len, self.rows), default=0)
        return self.align or "l" + "r" * (width - 1)

    def lines(self) -> list[list[str]]:
        """Return all cells as text, on one line each, the headings first if there are any."""
        rows = (self.columns, *self.rows) if self.columns else self.rows
        return [[readable(str(cell)) for cell in row] for row in rows]


def as_text(table: Table) -> str:
    """Return lines of cells padded with spaces, two between columns."""
    lines = table.lines()
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.ljust if side == "l" else str.rjust for side in table.alignment()]
    return "".join(
        "  ".join(pad(c, w) for c, w, pad in zip(line, widths, pads, strict=True)).rstrip() + "\n"
        for line in lines
    )


def as_markdown(table: Table) -> str:
    """Return a Markdown table, without a line break at its end."""
    head, *rows = [[cell.replace("|", "\\|") for cell in line] for line in table.lines()]
    rule = ["---" if side == "l" else "---:" for side in table.alignment()]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def as_html(table: Table) -> str:
    """Return a ``<table>``; the first cell of each row is its heading."""

    def row(cells: Sequence[str], kinds: Sequence[str]) -> str:
        return "".join(
            f'<{kind} class="{side}">{escape(cell)}</{kind}>'
            for cell, kind, side in zip(cells, kinds, table.alignment(), strict=True)
        )

    lines = table.lines()
    heads = 1 if table.columns else 0
    body = [
        row(line, ["th"] * len(line) if number < heads else ["th", *["td"] * (len(line) - 1)])
        for number, line in enumerate(lines)
    ]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in body)}</table>"


def as_rich(table: Table) -> "rich.table.Table":
    """Return what ``rich`` prints on a terminal."""
    from rich.table import Table as RichTable
    from rich.text import Text

    head, *rows = table.lines()
    made = RichTable()
    for name, side in zip(head, table.alignment(), strict=True):
        made.add_column(Text(name), justify="left" if side == "l" else "right", overflow="fold")
    for row in rows:
        # As text: a name in [brackets] is no markup.
        made.add_row(*map(Text, row))
    return made
