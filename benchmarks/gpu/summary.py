"""What a proof found, as one table and sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from emonet_deploy.benchmarks.gpu.stage import Outcome, Settings
from emonet_deploy.benchmarks.speed.count_operations import NETWORK_MACS
from emonet_deploy.runtime.output.table_formats import Table, as_markdown

__all__ = ["Report", "stage_table", "summarize"]

Row = Mapping[str, Any]

_GRAPHLESS: Final = " without a graph"


@dataclass(frozen=True)
class Report:
    """A proof in short.

    Attributes:
        title: the GPU and what drives it.
        outcomes: of each stage.
        table: a line for each thing measured at each batch size.
        sentences: what to use here, and why.
    """

    title: str
    outcomes: Sequence[Outcome]
    table: Table
    sentences: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "title": self.title,
            "stages": [asdict(outcome) for outcome in self.outcomes],
            "columns": list(self.table.columns),
            "rows": [list(row) for row in self.table.rows],
            "sentences": list(self.sentences),
        }

    def to_markdown(self) -> str:
        """Return it as a page."""
        sentences = "\n".join(f"- {sentence}" for sentence in self.sentences)
        parts = [f"# {self.title}", sentences, as_markdown(stage_table(self.outcomes))]
        return "\n\n".join([*filter(None, parts), as_markdown(self.table), ""])


def stage_table(outcomes: Sequence[Outcome]) -> Table:
    """Return how each stage ended."""
    rows = [(o.stage, o.status, f"{o.seconds:.0f}", o.line) for o in outcomes]
    return Table(("stage", "result", "seconds", "why"), rows, "llrl")


def summarize(settings: Settings, outcomes: Sequence[Outcome]) -> Report:
    """Put the rows of all stages together.

    Args:
        settings: tell where the stages have left their rows.
        outcomes: of the stages.
    """
    speeds = [row for row in settings.rows("speed") if not row.get("failed")]
    agreement = {row["name"]: row for row in settings.rows("parity")}
    ceilings = {row["name"]: row["value"] for row in settings.rows("ceilings") if "value" in row}
    best = _best_of_pytorch(speeds)
    rows = []
    for row in speeds:
        judged = agreement.get(row["name"].removesuffix(_GRAPHLESS), {})
        share = _share(row, ceilings)
        base = best.get(row["batch"])
        rows.append(
            (
                row["name"], str(row["batch"]), _text(row["gpu_ms"], ".3f"),
                _text(row["p50_ms"], ".3f"), _text(row["p99_ms"], ".3f"),
                *(_text(row["throughput_by_threads"].get(n), ".0f") for n in ("1", "2", "4")),
                _text(share, ".0%"), _text(base and row["throughput"] / base, ".2f"),
                _text(row.get("clock_mhz"), "d"), _text(judged.get("agreement"), ".1%"),
                _text(_lowest(judged), ".5f"), _verdict(judged),
            )
        )  # fmt: skip
    columns = (
        "what runs", "batch", "GPU ms", "p50 ms", "p99 ms", "images/s", "2 threads", "4 threads",
        "of ceiling", "x best PyTorch", "MHz", "equal classes", "CCC", "gates",
    )  # fmt: skip
    sentences = [
        *_left_out(outcomes), *_fastest(speeds, agreement), *_int8(speeds), *_graphs(speeds),
        *_measured_again(speeds),
    ]  # fmt: skip
    return Report(_title(settings), outcomes, Table(columns, rows), sentences)


def _title(settings: Settings) -> str:
    about = next(iter(settings.rows("environment")), {})
    gpu = about.get("gpu") or {}
    name = gpu.get("name", "an NVIDIA GPU")
    driver = gpu.get("driver_version", "unknown")
    return f"EmoNet on {name}, driver {driver}, toolkit {about.get('toolkit', 'unknown')}"


def _best_of_pytorch(speeds: Sequence[Row]) -> dict[int, float]:
    """Return images per second of the fastest PyTorch in half precision or float32, by batch."""
    best: dict[int, float] = {}
    for row in speeds:
        if row["name"].startswith("PyTorch") and "torch-tensorrt" not in row["name"]:
            best[row["batch"]] = max(best.get(row["batch"], 0.0), row["throughput"])
    return best


def _share(row: Row, ceilings: Mapping[str, float]) -> float | None:
    """Return multiply-adds per second over those of the card's own matrix product."""
    peak = ceilings.get(f"matrix product {row['precision']}")
    if not peak or row["name"].endswith("tf32"):
        return None
    ms = row["gpu_ms"] or row["p50_ms"]
    return float(2 * NETWORK_MACS * row["batch"] / ms / 1e9 / peak)


def _lowest(judged: Row) -> float | None:
    found = [judged.get(key) for key in ("ccc_valence", "ccc_arousal")]
    known = [value for value in found if value is not None]
    return min(known) if known else None


def _verdict(judged: Row) -> str:
    if not judged or "passed" not in judged:
        return "-"
    return "passed" if judged["passed"] else "failed" if judged.get("gated") else "not gated"


def _most(row: Row) -> float:
    """Images per second with as many threads as are best."""
    return float(max(row["throughput"], *row["throughput_by_threads"].values()))


def _left_out(outcomes: Sequence[Outcome]) -> list[str]:
    return [f"left out: {o.stage} ({o.line})" for o in outcomes if o.status == "left out"]


def _fastest(speeds: Sequence[Row], agreement: Mapping[str, Row]) -> list[str]:
    """Say what to use: the fastest at one face, and for many, of what passed its gates."""
    good = [row for row in speeds if agreement.get(row["name"], {}).get("passed")]
    if not good:
        return []
    first = min(row["batch"] for row in good)
    quick = min((row for row in good if row["batch"] == first), key=lambda row: row["p50_ms"])
    most = max(good, key=_most)
    return [
        f"use for one face at once: {quick['name']}, {quick['p50_ms']:.2f} ms at batch {first}",
        f"use for many faces: {most['name']}, {_most(most):.0f} images/s at batch {most['batch']}",
    ]


def _int8(speeds: Sequence[Row]) -> list[str]:
    known = {(row["name"], row["batch"]): row for row in speeds}
    ratios: dict[str, list[float]] = {}
    for (name, batch), row in known.items():
        half = known.get((name.replace("int8", "fp16"), batch))
        if " int8 " in f" {name} " and half is not None:
            ratios.setdefault(name, []).append(row["throughput"] / half["throughput"])
    return [
        f"{name} is {min(found):.2f} to {max(found):.2f} times as fast as fp16 here"
        + ("; it does not pay" if max(found) <= 1 else "")
        for name, found in ratios.items()
    ]


def _graphs(speeds: Sequence[Row]) -> list[str]:
    known = {(row["name"], row["batch"]): row for row in speeds}
    return [
        f"a CUDA graph gains {plain['p50_ms'] / row['p50_ms']:.2f} with {name} at batch {batch}"
        for (name, batch), row in known.items()
        if (plain := known.get((name + _GRAPHLESS, batch))) is not None
    ]


def _measured_again(speeds: Sequence[Row]) -> list[str]:
    slow = sum(1 for row in speeds if row.get("repeated"))
    return [f"{slow} rows were measured again: the card was at its idle clock"] if slow else []


def _text(value: Any, form: str) -> str:  # noqa: ANN401 - a number or nothing
    return "-" if value is None else format(value, form)
