"""What the command line prints: results to standard output, the rest to standard error.

Notes and progress are silenced by ``--quiet``; results, warnings and errors are not. What names
and messages hold that would break a line, a column or a terminal is written as escapes.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from emonet_deploy.commands.process.deadline import deadline
from emonet_deploy.commands.process.streams import standard_output
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.storage.path_encoding import readable

if TYPE_CHECKING:
    from emonet_deploy.benchmarks.accuracy.summary import Summary
    from emonet_deploy.benchmarks.metrics.output_error import Difference
    from emonet_deploy.benchmarks.parity.compare import Parity
    from emonet_deploy.benchmarks.parity.verdicts import Verdict
    from emonet_deploy.runtime.output.table_formats import Table

__all__ = [
    "logging_to_stderr",
    "number",
    "phase_bar",
    "print_accuracy",
    "print_differences",
    "print_parity",
    "print_table",
    "progress_bar",
    "ray_progress",
    "say",
    "set_verbosity",
    "show",
    "warn",
    "write_json",
]

_LOGGER: Final = logging.getLogger("emonet_deploy")
_QUIET: Final = logging.ERROR
"""The level at which the logger of the toolkit stands when only errors and results are wanted."""

_PATIENCE: Final = 60.0
"""Seconds that Ray may take to start or answer; where nothing reaches it, it waits for ever."""

_LISTED = 20
"""How many missing pictures are named."""


_LOGGED_EVERY: Final = 30.0
"""Seconds after which a log, which shows no bar, is told how far it is."""


def show(*cells: object) -> None:
    """Print a line of results; several cells are separated by tabs.

    Raises:
        InputError: standard output takes no more.
        typer.Exit: nobody reads it any more.
    """
    with standard_output():
        print("\t".join(readable(str(cell)) for cell in cells), flush=True)


def say(message: str) -> None:
    """Print a note, unless only errors and results are wanted."""
    if not _is_quiet():
        warn(message)


def warn(message: str) -> None:
    """Print a warning or an error."""
    with suppress(OSError):  # Nobody can be told that nobody can be told.
        print(readable(message), file=sys.stderr, flush=True)


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Print on standard error what the toolkit logs, from the level of ``set_verbosity`` on."""
    before, handler = _LOGGER.level, _OnStderr()
    _LOGGER.addHandler(handler)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(before)


def set_verbosity(*, quiet: bool, verbose: int) -> None:
    """Set what is printed on standard error.

    Args:
        quiet: errors only.
        verbose: 0 for warnings and notes, 1 for what the library did too, 2 for its details.
    """
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    _LOGGER.setLevel(_QUIET if quiet else levels[min(verbose, 2)])


class _OnStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        warn(f"{record.levelname.lower()}: {record.getMessage()}")


def _is_quiet() -> bool:
    return _LOGGER.level >= _QUIET


def number(value: float | None, form: str) -> str:
    """Format a number, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def print_table(table: "Table") -> None:
    """Print a table on a terminal, tab-separated lines elsewhere."""
    from emonet_deploy.runtime.output.table_formats import as_rich

    if not sys.stdout.isatty():
        for line in table.lines():
            show(*line)
        return
    from rich.console import Console

    with standard_output():
        Console().print(as_rich(table))


def print_differences(kind: str, differences: "Mapping[str, Difference]") -> None:
    """Print how far each tensor is from the reference's; nothing where there is none."""
    from emonet_deploy.runtime.output.table_formats import Table

    if not differences:
        return
    table = Table(
        (kind, "max error", "mean error", "share of spread", "cosine", "SNR dB"),
        [
            (
                name,
                f"{d.max_abs:.2e}",
                f"{d.mean_abs:.2e}",
                number(d.max_abs / d.spread if d.spread else None, ".2e"),
                number(d.cosine, ".7f"),
                number(d.snr_db, ".1f"),
            )
            for name, d in differences.items()
        ],
    )
    print_table(table)


def print_parity(result: "Parity") -> None:
    """Print how far an artifact is from its reference, and each gate."""
    print_differences("output", result.outputs)
    show(
        f"{result.n} faces: {result.agreement:.1%} equal classes, "
        f"CCC valence {number(result.ccc_valence, '.6f')}, "
        f"arousal {number(result.ccc_arousal, '.6f')}"
    )
    show(
        f"{result.ties} of them ties: the reference's two best classes lie within "
        f"{result.tie_margin:.2g} in probability, which the precision cannot tell"
    )
    print_gates(result.gates)


def print_gates(gates: "Mapping[str, Verdict]") -> None:
    """Print each gate, what was measured, and whether it passes."""
    for name, gate in gates.items():
        verdict = "pass" if gate.passed else "FAIL"
        cells = [verdict, name, number(gate.value, ".6g")]
        if gate.interval is not None:
            cells.append(f"[{gate.interval.low:.6g}, {gate.interval.high:.6g}]")
        show(*cells, f"gate {gate.limit:g}")


def print_accuracy(summary: "Summary") -> None:
    """Print the metrics of a run, the paper's beside them, and what it was compared with."""
    from emonet_deploy.benchmarks.accuracy.tables import metrics_table

    print_table(metrics_table(summary))
    if summary.against is not None:
        found = summary.against
        show(
            f"against the reference: {found.agreement:.1%} equal classes, "
            f"CCC valence {number(found.ccc_valence, '.6f')}, "
            f"arousal {number(found.ccc_arousal, '.6f')}"
        )
        print_gates(found.gates)
    run = summary.run
    for missing in run.missing[:_LISTED]:
        warn(f"missing: {missing.reason}")
    if len(run.missing) > _LISTED:
        warn(f"missing: {len(run.missing) - _LISTED} more; --json lists all")
    speed = number(summary.throughput, ".1f")
    show(f"{len(run.numbers)} samples, {len(run.missing)} missing, {speed} samples/s")


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on a terminal, lines now and then elsewhere; yields ``update(done, total)``."""
    with _bar(label) as update:
        yield lambda done, total: update(label, done, total)


@contextmanager
def ray_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar for a run on Ray; end the process if that does not begin within a minute."""

    def tell() -> None:
        warn(f"error: Ray does not answer after {_PATIENCE:g} s")
        warn("hint: is that address a Ray cluster's, and does its network let everything through?")

    with progress_bar(label) as update, deadline(_PATIENCE, tell) as begun:

        def progress(done: int, total: int) -> None:
            begun()
            update(done, total)

        yield progress


@contextmanager
def phase_bar(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for one phase after another; yields ``update(phase, done, total)``."""
    with _bar(label) as update:
        yield lambda phase, done, total: update(f"{label}: {phase}", done, total)


@contextmanager
def _bar(label: str) -> Iterator[Callable[[str, int, int | None], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal or _is_quiet():
        yield _log_lines()
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task(readable(label), total=None)
        yield lambda text, done, total: progress.update(
            task, description=readable(text), completed=done, total=total
        )


def _log_lines() -> Callable[[str, int, int | None], None]:
    """Return what tells a log now and then how far a long piece of work is."""
    last = time.monotonic()

    def update(text: str, done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOGGED_EVERY:
            last = time.monotonic()
            say(f"{text}: {done}" + (f" of {total}" if total else ""))

    return update


def write_json(path: Path | None, result: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write a result as JSON, all or nothing; ``None`` as path writes nothing."""
    if path is None:
        return
    with atomic_write(path) as temporary:
        text = json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False)
        # A byte of a name that is not UTF-8 is written as JSON's own escape for it.
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
