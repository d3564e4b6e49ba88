"""``emonet summarize``: the rows of a run, a line for each person, clip, hour or folder."""

from typing import Annotated, Literal

import typer

from emonet_deploy.commands.console import print_table
from emonet_deploy.commands.options import JsonFile

__all__ = ["summarize"]


def summarize(
    results: Annotated[str, typer.Argument(help="Folder or address that `emonet batch` wrote.")],
    by: Annotated[
        Literal["person", "clip", "hour", "folder"], typer.Option(help="What a line is about.")
    ] = "clip",
    json: JsonFile = None,
) -> None:
    """Print means, shares and changes of expression over the rows of a run."""
    from emonet_deploy.batch.summary import summary_rows
    from emonet_deploy.commands.console import write_json
    from emonet_deploy.runtime.output.text_table import Table

    rows = summary_rows(results, by)
    columns = ("group", "faces", "valence", "arousal", "expression", "share", "changes")
    print_table(
        Table(
            columns,
            [
                (
                    row.group, str(row.faces), f"{row.valence:+.3f}", f"{row.arousal:+.3f}",
                    row.expression, f"{row.shares[row.expression]:.0%}", str(row.changes),
                )
                for row in rows
            ],
        )
    )  # fmt: skip
    write_json(json, [row.as_dict() for row in rows])
