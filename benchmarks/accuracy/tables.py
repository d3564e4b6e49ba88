"""The tables of an evaluation, for the terminal and the page alike."""

from collections.abc import Mapping, Sequence
from typing import Any

from emonet_deploy.benchmarks.accuracy.gates import Comparison
from emonet_deploy.benchmarks.accuracy.summary import Summary
from emonet_deploy.benchmarks.metrics.bootstrap import Interval
from emonet_deploy.benchmarks.parity.verdicts import Verdict
from emonet_deploy.runtime.output.table_formats import Table

__all__ = ["changes_table", "gates_table", "metrics_table", "side_by_side"]


def metrics_table(summary: Summary) -> Table:
    """Return each metric with its interval, and the paper's beside it where that compares."""
    published = summary.published.by_name() if summary.published else {}
    check = summary.check or {}
    head = ["metric", "value", "95% interval"]
    head += ["published"] * bool(published) + ["check"] * bool(check)
    rows = []
    for name, value in summary.accuracy.by_name().items():
        row = [name, _number(value), _interval(summary.intervals[name])]
        row += [_number(published[name], ".2f")] if published else []
        row += [_verdict(check[name])] if check else []
        rows.append(row)
    return Table(head, rows)


def changes_table(found: Comparison) -> Table:
    """Return each metric beside the reference's."""
    rows = [
        (name, _number(c.reference), _number(c.value), _interval(c.interval, "+.4f"))
        for name, c in found.changes.items()
    ]
    return Table(("metric", "reference", "this", "difference, 95% interval"), rows)


def gates_table(gates: Mapping[str, Verdict]) -> Table:
    """Return each gate, what was measured, its limit, and whether it passes."""
    rows = [
        (name, _number(gate.value, ".6g"), f"{gate.limit:g}", _verdict(gate))
        for name, gate in gates.items()
    ]
    return Table(("gate", "value", "limit", "verdict"), rows)


def side_by_side(results: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for each metric and a column for each JSON result of ``emonet eval``."""
    axes = {axis: results[0][axis] for axis in ("expression", "valence", "arousal")}
    return Table(
        ("metric", *(f"{result['backend']} {result['precision']}" for result in results)),
        [
            (f"{axis} {metric}", *(_number(result[axis][metric]) for result in results))
            for axis, metrics in axes.items()
            for metric in metrics
        ],
    )


def _number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)


def _interval(found: Interval | None, form: str = ".4f") -> str:
    return "-" if found is None else f"{found.low:{form}} to {found.high:{form}}"


def _verdict(gate: Verdict) -> str:
    return "pass" if gate.passed else "FAIL"
