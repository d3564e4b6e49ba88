"""An evaluation as one HTML page that needs nothing but itself."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from emonet_deploy.benchmarks.accuracy.charts import circumplex, scatter
from emonet_deploy.benchmarks.accuracy.protocol import Evaluation, crop_sample
from emonet_deploy.benchmarks.accuracy.summary import Summary
from emonet_deploy.benchmarks.accuracy.tables import changes_table, gates_table, metrics_table
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.output.html_page import write_page
from emonet_deploy.runtime.output.palette import CLASSES, IDENTITIES, hex_color
from emonet_deploy.runtime.output.table_formats import Table

__all__ = ["write_report"]

WORST: Final = 16
"""How many of the worst samples are shown."""
_THUMBNAIL: Final = 96
_LISTED: Final = 200  # How many of the missing pictures are named.
_TEMPLATE: Final = "report.html.jinja"


def write_report(folder: Path, summary: Summary, environment: Mapping[str, Any]) -> Path:
    """Write ``index.html`` into a folder and return its path.

    The page holds the tables, the confusion matrix, valence and arousal against the truth, both in
    one plane, and the worst samples with their faces; it loads nothing from anywhere.

    Raises:
        InputError: the file cannot be written.
    """
    run, names = summary.run, CLASS_NAMES[summary.run.dataset.nclass]
    truth, made = run.truth, run.prediction
    facts = {
        "Data": run.dataset.name,
        "Samples": f"{len(run.numbers)} ({len(run.missing)} pictures missing)",
        "Classes": run.dataset.nclass,
        "Test-time flip": "yes" if run.flip else "no",
        **{key.capitalize(): value for key, value in summary.model.items()},
    }
    against = summary.against
    return write_page(
        folder,
        __package__,
        _TEMPLATE,
        facts=_pairs(facts),
        metrics=metrics_table(summary),
        against=against,
        changes=against and changes_table(against),
        gates=against and gates_table(against.gates),
        names=names,
        confusion=list(_confusion(summary, names)),
        shade=" ".join(map(str, IDENTITIES[-1])),
        charts=[
            scatter(truth.valence, made.valence, "Valence"),
            scatter(truth.arousal, made.arousal, "Arousal"),
            circumplex(truth.valence, truth.arousal, truth.expression, "Truth"),
            circumplex(made.valence, made.arousal, made.expression, "Prediction"),
        ],
        legend=list(zip(names, map(hex_color, CLASSES), strict=False)),
        worst=list(_worst(run)),
        thumbnail=_THUMBNAIL,
        missing=Table(
            ("path", "reason"), [(m.path, m.reason) for m in run.missing[:_LISTED]], "ll"
        ),
        environment=_pairs(environment),
    )


@dataclass(frozen=True)
class _Sample:
    """One of the worst: what is said of it, and its face as base64 JPEG where that is there."""

    lines: Sequence[str]
    jpeg: str | None


def _pairs(values: Mapping[str, Any]) -> Table:
    return Table((), list(values.items()), "ll")


def _confusion(
    summary: Summary, names: Sequence[str]
) -> Iterator[tuple[str, list[tuple[int, float]], str]]:
    """Yield each true class, its counts with their share of the row, and its recall."""
    for name, row, recall in zip(names, summary.confusion.tolist(), summary.recall, strict=True):
        total = max(sum(row), 1)
        yield name, [(n, n / total) for n in row], "-" if recall is None else f"{recall:.3f}"


def _worst(run: Evaluation) -> Iterator[_Sample]:
    truth, made = run.truth, run.prediction
    distance = np.hypot(made.valence - truth.valence, made.arousal - truth.arousal)
    names = (*CLASS_NAMES[run.dataset.nclass], "-")
    assert NO_EXPRESSION == -1  # picks the dash
    for index in np.argsort(-distance, kind="stable")[:WORST].tolist():
        sample = run.dataset.samples[int(run.numbers[index])]
        said = [
            f"{who}: {names[labels.expression[index]]}, "
            f"{labels.valence[index]:+.2f} {labels.arousal[index]:+.2f}"
            for who, labels in (("true", truth), ("made", made))
        ]
        try:
            crop = cv2.resize(crop_sample(run.dataset, sample), (_THUMBNAIL, _THUMBNAIL))
        except InputError:  # the picture went after it was evaluated
            jpeg = None
        else:
            _, data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
            jpeg = base64.b64encode(data.tobytes()).decode()
        yield _Sample((sample.path, *said), jpeg)
