"""Print ``docs/benchmarks.md`` from ``benchmarks/results``: nothing in it is typed by hand.

Run as ``python docs/scripts/benchmarks_page.py > docs/benchmarks.md``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emonet_deploy.benchmarks.speed.bench import BenchRow
from emonet_deploy.benchmarks.speed.serving_load import ServedRow
from emonet_deploy.benchmarks.speed.table import bench_table
from emonet_deploy.commands.bench.served import served_table
from emonet_deploy.runtime.output.table_formats import Table, as_markdown

__all__ = ["page"]

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def page(results: Path = RESULTS) -> str:
    """Return the page: a table for each machine.

    Args:
        results: folder of what ``emonet bench --json`` wrote; the folders that ``emonet prove``
            wrote lie in ``gpu`` below it.
    """
    parts = [
        "# Benchmarks",
        "Printed by `python docs/scripts/benchmarks_page.py` from the files in "
        "`benchmarks/results/`, which `emonet bench --json` and `emonet prove` wrote. Figures of "
        "one table were measured in turns within one run and may be compared; those of two tables "
        "may not. `speed-up` is against PyTorch on the same threads; `onnx (cpu)` is a model of "
        "`--target cpu`.",
    ]
    for file in sorted(results.glob("*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        if "rows" in found:
            table = _serving if "url" in found["rows"][0] else _bench
            parts += [*_machine(file.name, found), table(found["rows"])]
    proofs = sorted((results / "gpu").glob("*/summary.json"))
    for file in proofs:
        parts += _proof(json.loads(file.read_text(encoding="utf-8")))
    if not proofs:
        parts.append("No GPU has been measured yet: `make gpu-proof` does it.")
    return "\n\n".join([*parts, ""])


def _machine(name: str, found: Mapping[str, Any]) -> list[str]:
    about = found["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return [
        f"## {about['cpu']}, {about['cores']} cores ({', '.join(about['cpu_flags'])})",
        f"{about['date'][:10]}, toolkit {about['toolkit']}, Python {about['python']}, {packages} "
        f"(`{name}`).",
    ]


def _bench(found: Sequence[Mapping[str, Any]]) -> str:
    rows = [BenchRow(**row) for row in found]
    measured = [row if row.peak_library else replace(row, peak_share=None) for row in rows]
    return as_markdown(bench_table(measured))


def _serving(found: Sequence[Mapping[str, Any]]) -> str:
    """Return a server under load beside the model (of pictures, the pipeline) alone."""
    table = served_table([ServedRow(**row) for row in found])
    routes = [urlsplit(row["url"]).path for row in found]
    rows = [(route, *values) for route, values in zip(routes, table.rows, strict=True)]
    return as_markdown(Table(("route", *table.columns), rows))


def _proof(found: Mapping[str, Any]) -> list[str]:
    sentences = "\n".join(f"- {sentence}" for sentence in found["sentences"])
    table = as_markdown(Table(found["columns"], found["rows"]))
    return [f"## {found['title'].removeprefix('EmoNet on ')}", sentences, table]


if __name__ == "__main__":
    print(page(), end="")
