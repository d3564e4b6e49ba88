"""The rows of ``emonet bench`` as people read them."""

from collections.abc import Sequence

from emonet_deploy.benchmarks.speed.bench import BenchRow
from emonet_deploy.runtime.output.table_formats import Table
from emonet_deploy.runtime.precision_specs import gates_of

__all__ = ["COLUMNS", "bench_table", "device_table", "disturbed", "label", "one_row", "verdicts"]

COLUMNS = (
    "engine", "precision", "threads", "batch", "p50 ms", "p95 ms", "images/s", "speed-up",
    "GMAC", "of peak", "RSS MB", "start ms", "size MB", "equal classes", "CCC v", "CCC a",
)  # fmt: skip


_WIDE = 2.0
"""How many times its median a row's 95th percentile is when something else was at work."""


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
    """Return what happens on the device, of the rows that run there."""
    cells = [
        (
            label(r), r.precision, str(r.batch),
            *(_number(ms, ".3f") for ms in _split(r)), _number(r.megabytes, ".0f"),
            _number(r.kernels, "d"), _number(r.clock_mhz, "d"),
            *(_number((r.throughput_by_threads or {}).get(n), ".0f") for n in ("1", "2", "4")),
        )
        for r in rows
        if r.device is not None or r.throughput_by_threads is not None
    ]  # fmt: skip
    columns = (
        "engine", "precision", "batch", "copy in ms", "compute ms", "copy out ms", "MB/image",
        "kernels", "MHz", "images/s, 1 thread", "2", "4",
    )  # fmt: skip
    return Table(columns, cells)


def _split(row: BenchRow) -> tuple[float | None, float | None, float | None]:
    parts = row.device
    return (None, None, None) if parts is None else (parts.copy_in, parts.compute, parts.copy_out)


def one_row(row: BenchRow) -> str:
    """Return a row as a line, for who waits for the table."""
    return (
        f"{label(row)} {row.precision}, batch {row.batch}: {row.p50_ms:.1f} ms, "
        f"{row.throughput:.1f} images/s, {row.speedup:.2f} times the reference"
    )


def verdicts(rows: Sequence[BenchRow]) -> list[str]:
    """Return what a reader would overlook: int8 that is not worth it, and peers too inexact."""
    return [*_slow_int8(rows), *_inexact_peers(rows)]


def disturbed(rows: Sequence[BenchRow]) -> str | None:
    """Return that other work kept the machine busy, where most rows' times scatter widely.

    Timing in turns shares out a disturbance among the rows, but one that comes and goes meets
    some calls of a row and not others: 95th percentiles of twice the median and more.
    """
    wide = sum(row.p95_ms >= _WIDE * row.p50_ms for row in rows)
    if 2 * wide <= len(rows):
        return None
    return (
        f"in {wide} of {len(rows)} rows p95 is {_WIDE:g} times p50 or more: other processes "
        "kept the machine busy, and even ratios are rough; measure again when they are idle"
    )


def _slow_int8(rows: Sequence[BenchRow]) -> list[str]:
    """Where INT8 is no faster than FP16: on large GPUs, which move and launch, hardly multiply."""
    on_gpu = {(label(r), r.batch, r.precision): r for r in rows if r.throughput_by_threads}
    found = []
    for (name, batch, precision), row in on_gpu.items():
        half = on_gpu.get((name, batch, "fp16"))
        if precision == "int8" and half is not None and row.p50_ms >= half.p50_ms:
            found.append(
                f"{name}, batch {batch}: int8 is no faster than fp16 here "
                f"({row.p50_ms:.2f} ms and {half.p50_ms:.2f} ms); use fp16"
            )
    return found


def _inexact_peers(rows: Sequence[BenchRow]) -> list[str]:
    """Peers below the gates that the toolkit's own artifacts of their precision must pass."""
    found = {}
    for row in rows:
        if row.backend != "peer" or row.precision == "fp32":  # which must be equal to be timed
            continue
        gates = gates_of(row.precision, "cpu")
        least, same = gates.ccc or 0.0, gates.agreement or 0.0
        ccc = min(row.ccc_valence or 0.0, row.ccc_arousal or 0.0)
        if ccc < least or row.agreement < same:
            found[row.provider] = (
                f"{row.provider} is below the gates of {row.precision}, and its speed that of "
                f"another result: CCC {ccc:.4f} (gate {least:g}), "
                f"equal classes {row.agreement:.1%} (gate {same:.0%})"
            )
    return list(found.values())


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
