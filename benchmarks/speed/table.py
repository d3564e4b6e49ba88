"""The rows of ``emonet bench`` as people read them."""

from collections.abc import Sequence

from emonet_deploy.benchmarks.speed.bench import BenchRow
from emonet_deploy.runtime.output.text_table import Table

__all__ = ["COLUMNS", "bench_table", "device_table", "label"]

COLUMNS = (
    "engine", "precision", "threads", "batch", "p50 ms", "p95 ms", "images/s", "speed-up",
    "GMAC", "of peak", "RSS MB", "start ms", "size MB", "equal classes", "CCC v", "CCC a",
)  # fmt: skip


def label(row: BenchRow) -> str:
    """Return what runs a row: the engine and, where it matters, the target; a peer's name."""
    if row.backend == "peer":
        return row.provider
    return f"{row.backend} (cpu)" if row.target == "cpu" else row.backend


def bench_table(rows: Sequence[BenchRow]) -> Table:
    """Return a line for each row, under ``COLUMNS``."""
    cells = [
        (
            label(r), r.precision, _number(r.threads, "d"), str(r.batch), f"{r.p50_ms:.1f}",
            f"{r.p95_ms:.1f}", f"{r.throughput:.2f}", f"{r.speedup:.2f}", f"{r.macs / 1e9:.1f}",
            _number(r.peak_share, ".0%"), _number(r.peak_rss_mb, ".0f"),
            _number(r.cold_start_ms, ".0f"), _number(r.size_mb, ".1f"), f"{r.agreement:.1%}",
            _number(r.ccc_valence, ".5f"), _number(r.ccc_arousal, ".5f"),
        )
        for r in rows
    ]  # fmt: skip
    return Table(COLUMNS, cells)


def device_table(rows: Sequence[BenchRow]) -> Table:
    """Return how long copies and compute took on the device, of the rows that know it."""
    cells = [
        (r.backend, r.precision, r.batch,
         f"{r.device.copy_in:.3f}", f"{r.device.compute:.3f}", f"{r.device.copy_out:.3f}")
        for r in rows
        if r.device is not None
    ]  # fmt: skip
    return Table(("engine", "precision", "batch", "copy in ms", "compute ms", "copy out ms"), cells)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
