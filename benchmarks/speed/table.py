"""The rows of ``emonet bench`` as people read them."""

from collections.abc import Sequence

from emonet_deploy.benchmarks.speed.bench import BenchRow

__all__ = ["COLUMNS", "label", "markdown", "table"]

COLUMNS = (
    "engine", "precision", "threads", "batch", "p50 ms", "p95 ms", "images/s", "speed-up",
    "GMAC", "of peak", "RSS MB", "start ms", "size MB", "equal classes", "CCC v", "CCC a",
)  # fmt: skip


def label(row: BenchRow) -> str:
    """Return what runs a row: the engine and, where it matters, the target; a peer's name."""
    if row.backend == "peer":
        return row.provider
    return f"{row.backend} (cpu)" if row.target == "cpu" else row.backend


def table(rows: Sequence[BenchRow]) -> list[tuple[str, ...]]:
    """Return the cells under ``COLUMNS``."""
    return [
        (
            label(r), r.precision, _number(r.threads, "d"), str(r.batch), f"{r.p50_ms:.1f}",
            f"{r.p95_ms:.1f}", f"{r.throughput:.2f}", f"{r.speedup:.2f}", f"{r.macs / 1e9:.1f}",
            _number(r.peak_share, ".0%"), _number(r.peak_rss_mb, ".0f"),
            _number(r.cold_start_ms, ".0f"), _number(r.size_mb, ".1f"), f"{r.agreement:.1%}",
            _number(r.ccc_valence, ".5f"), _number(r.ccc_arousal, ".5f"),
        )
        for r in rows
    ]  # fmt: skip


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column to the left, the rest to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
