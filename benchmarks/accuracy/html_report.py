"""An evaluation as one HTML page that needs nothing but itself."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from emonet_deploy.benchmarks.accuracy.charts import circumplex, confusion_table, scatter
from emonet_deploy.benchmarks.accuracy.protocol import Evaluation, crop_sample
from emonet_deploy.benchmarks.accuracy.summary import Summary
from emonet_deploy.benchmarks.gates import Comparison
from emonet_deploy.benchmarks.metrics.bootstrap import Interval
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.benchmarks.parity.compare import Verdict
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.emonet_ref.storage.files import atomic_write
from emonet_deploy.errors import InputError

__all__ = ["write_report"]

WORST: Final = 16
"""How many of the worst samples are shown."""
THUMBNAIL: Final = 96
LISTED: Final = 200
"""How many of the missing pictures are named."""

STYLE: Final = """
body{font:15px/1.45 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0}th,td{padding:.25rem .6rem;border:1px solid #ccc}
td{text-align:right}th{text-align:left;font-weight:600}.text td{text-align:left}
.charts{display:flex;flex-wrap:wrap;gap:1rem}svg text{font-size:11px;fill:#444}
svg .title{font-size:13px;font-weight:600}.frame{fill:none;stroke:#999}.axis{stroke:#ddd;fill:none}
.line{stroke:#c8372d}.dots{fill:#3566b8;fill-opacity:.45}.legend span{margin-right:.8rem}
.legend i{display:inline-block;width:.7em;height:.7em;margin-right:.3em}
.faces{display:flex;flex-wrap:wrap;gap:.8rem}.faces figure{margin:0;width:8.5rem;font-size:12px;
overflow-wrap:anywhere}.fail{color:#c8372d;font-weight:600}
"""


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
        "Classes": str(run.dataset.nclass),
        "Test-time flip": "yes" if run.flip else "no",
        **{key.capitalize(): value for key, value in summary.model.items()},
    }
    parts = [
        "<h1>EmoNet: accuracy</h1>",
        _table([[key, value] for key, value in facts.items()], kind="text"),
        "<h2>Metrics</h2>",
        _metrics(summary),
    ]
    if summary.against is not None:
        parts += ["<h2>Against the reference</h2>", _against(summary.against)]
    parts += [
        "<h2>Expression</h2>",
        confusion_table(summary.confusion, names),
        "<h2>Valence and arousal</h2>",
        '<div class="charts">',
        scatter(truth.valence, made.valence, "Valence"),
        scatter(truth.arousal, made.arousal, "Arousal"),
        circumplex(truth.valence, truth.arousal, truth.expression, names, "Truth"),
        circumplex(made.valence, made.arousal, made.expression, names, "Prediction"),
        "</div>",
        f"<h2>The {min(WORST, len(run.numbers))} worst samples</h2>",
        "<p>By distance between truth and prediction in the plane of valence and arousal.</p>",
        f'<div class="faces">{"".join(_worst(run))}</div>',
    ]
    if run.missing:
        listed = [[missing.path, missing.reason] for missing in run.missing[:LISTED]]
        parts += ["<h2>Missing pictures</h2>", _table(listed, ("path", "reason"), "text")]
    flat = [[key, str(value)] for key, value in environment.items()]
    parts += ["<h2>Environment</h2>", _table(flat, kind="text")]
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>EmoNet: accuracy</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    path = folder / "index.html"
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _table(rows: Iterable[Sequence[str]], head: Sequence[str] = (), kind: str = "") -> str:
    """Return a table of escaped cells; the first of each row is its heading."""
    top = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>" if head else ""
    body = "".join(
        f"<tr><th>{escape(first)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in rest)}</tr>"
        for first, *rest in rows
    )
    return f'<table class="{kind}">{top}{body}</table>'


def _number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)


def _interval(found: Interval | None, form: str = ".4f") -> str:
    return "-" if found is None else f"{found.low:{form}} to {found.high:{form}}"


def _verdict(gate: Verdict) -> str:
    return "pass" if gate.passed else "FAIL"


def _metrics(summary: Summary) -> str:
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
    return _table(rows, head)


def _against(found: Comparison) -> str:
    intro = (
        f"<p>{found.n} samples: {found.agreement:.2%} equal classes, CCC with the reference "
        f"{_number(found.ccc_valence, '.6f')} (valence), {_number(found.ccc_arousal, '.6f')} "
        "(arousal).</p>"
    )
    changes = [
        [name, _number(c.reference), _number(c.value), _interval(c.interval, "+.4f")]
        for name, c in found.changes.items()
    ]
    gates = [
        [name, _number(gate.value, ".6g"), f"{gate.limit:g}", _verdict(gate)]
        for name, gate in found.gates.items()
    ]
    head = ("metric", "reference", "this", "difference, 95% interval")
    return intro + _table(changes, head) + _table(gates, ("gate", "value", "limit", ""))


def _worst(run: Evaluation) -> Iterable[str]:
    truth, made = run.truth, run.prediction
    distance = np.hypot(made.valence - truth.valence, made.arousal - truth.arousal)
    names = (*CLASS_NAMES[run.dataset.nclass], "-")
    assert NO_EXPRESSION == -1  # picks the dash
    for index in np.argsort(-distance, kind="stable")[:WORST].tolist():
        sample = run.dataset.samples[int(run.numbers[index])]
        lines = (
            sample.path,
            f"true: {names[truth.expression[index]]}, "
            f"{truth.valence[index]:+.2f} {truth.arousal[index]:+.2f}",
            f"made: {names[made.expression[index]]}, "
            f"{made.valence[index]:+.2f} {made.arousal[index]:+.2f}",
        )
        try:
            crop = cv2.resize(crop_sample(run.dataset, sample), (THUMBNAIL, THUMBNAIL))
        except InputError:  # the picture went after it was evaluated
            picture = ""
        else:
            _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
            code = base64.b64encode(jpeg.tobytes()).decode()
            picture = f'<img alt="" width="{THUMBNAIL}" src="data:image/jpeg;base64,{code}">'
        caption = "<br>".join(escape(line) for line in lines)
        yield f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
