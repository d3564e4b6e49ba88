"""``emonet doctor``: what runs here."""

from dataclasses import asdict

from emonet_deploy.commands.console import print_table, write_json
from emonet_deploy.commands.options import JsonFile

__all__ = ["doctor"]


def doctor(json_file: JsonFile = None) -> None:
    """Tell what runs here, and what to install for the rest."""
    from emonet_deploy.runtime.doctor import (
        examine,
        examine_clusters,
        examine_machine,
        examine_servers,
    )
    from emonet_deploy.runtime.output.table_formats import Table

    rows = [*examine(), *examine_servers(), *examine_clusters(), *examine_machine()]
    table = Table(
        ("backend or part", "to", "ready", "has", "missing, and what to type"),
        [
            (r.backend, r.purpose, "yes" if r.ready else "no",
             ", ".join(r.has) or "-", "; ".join(r.missing) or "-")
            for r in rows
        ],
        "lllll",
    )  # fmt: skip
    print_table(table)
    write_json(json_file, [asdict(row) | {"ready": row.ready} for row in rows])
