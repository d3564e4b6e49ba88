"""Gates on accuracy: against the paper's table, and against the reference sample by sample."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from emonet_deploy.benchmarks.accuracy.protocol import Evaluation
from emonet_deploy.benchmarks.metrics.bootstrap import Interval, paired_intervals
from emonet_deploy.benchmarks.metrics.paper_metrics import Labels, accuracy, ccc
from emonet_deploy.benchmarks.parity.verdicts import Verdict, judge
from emonet_deploy.emonet_ref.constants import Accuracy
from emonet_deploy.errors import InputError, ParityError
from emonet_deploy.runtime.choices import Precision
from emonet_deploy.runtime.precision_specs import PRECISIONS, gates_of

__all__ = ["Change", "Comparison", "check_published", "compare_runs", "require"]


@dataclass(frozen=True)
class Change:
    """One metric of two runs over the same samples.

    Attributes:
        reference: of the reference.
        value: of the artifact.
        interval: 95%, of value minus reference, both over the same resamples.
    """

    reference: float | None
    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """What an artifact changes: the gates and, by metric, by how much."""

    n: int
    agreement: float
    ccc_valence: float | None
    ccc_arousal: float | None
    changes: dict[str, Change]
    gates: dict[str, Verdict]


def check_published(
    found: Accuracy, published: Accuracy, tolerance: float | None = None
) -> dict[str, Verdict]:
    """Gate every metric: it rounds to the published two decimals, or lies within ``tolerance``."""
    targets = published.by_name()
    verdicts = {}
    for name, value in found.by_name().items():
        target = targets[name]
        assert target is not None
        if value is None:
            passed = False
        elif tolerance is None:
            passed = f"{value:.2f}" == f"{target:.2f}"
        else:
            passed = abs(value - target) <= tolerance
        verdicts[name] = Verdict(target, value, passed)
    return verdicts


def compare_runs(
    reference: Evaluation, run: Evaluation, precision: Precision, max_drop: float | None = None
) -> Comparison:
    """Compare two runs sample by sample.

    The gates: agreement with the reference as ``emonet parity`` asks of this precision, and the
    drop of each metric. A drop fails when it is larger than ``max_drop`` and its paired 95%
    interval excludes zero: what a few samples did by chance is not held against an artifact, and
    what it really changes shows in the agreement even then.

    Args:
        reference: of the float32 reference, or whatever is to be compared with.
        run: of the artifact.
        precision: of the artifact; sets the gates.
        max_drop: by default that of the precision.

    Raises:
        InputError: the two were not made on the same samples in the same way.
    """
    same = (
        np.array_equal(reference.numbers, run.numbers)
        and reference.flip == run.flip
        and reference.dataset.samples == run.dataset.samples
    )
    if not same:
        raise InputError("the two runs are not over the same samples; evaluate both anew")
    a, b = reference.prediction, run.prediction
    limit = PRECISIONS[precision].max_drop if max_drop is None else max_drop
    agreement = float(np.mean(a.expression == b.expression))
    cccs = (ccc(a.valence, b.valence), ccc(a.arousal, b.arousal))
    verdicts = judge(replace(gates_of(precision), max_error=None), {}, agreement, cccs)
    changes = _changes(run.truth, a, b)
    for name, change in changes.items():
        if change.reference is not None or change.value is not None:
            verdicts[f"drop of {name}"] = _judge_drop(name, change, limit)
    return Comparison(len(a), agreement, *cccs, changes, verdicts)


def require(verdicts: Mapping[str, Verdict], what: str) -> None:
    """Raise ``ParityError`` with the gates that failed, if any."""
    failed = [
        f"{name} {'undefined' if gate.value is None else f'{gate.value:.4f}'} ({gate.limit:g})"
        for name, gate in verdicts.items()
        if not gate.passed
    ]
    if failed:
        raise ParityError(f"{what}: {len(failed)} of {len(verdicts)} gates: {', '.join(failed)}")


def _changes(truth: Labels, a: Labels, b: Labels) -> dict[str, Change]:
    before, after = accuracy(truth, a).by_name(), accuracy(truth, b).by_name()
    found = paired_intervals(truth, a, b)
    return {name: Change(before[name], after[name], found[name]) for name in before}


def _judge_drop(name: str, change: Change, limit: float) -> Verdict:
    if change.reference is None or change.value is None or change.interval is None:
        return Verdict(limit, None, False)
    # Errors are worse when they grow, all else when it falls.
    worse_up = name.endswith("RMSE")
    drop = (change.value - change.reference) * (1 if worse_up else -1)
    certain = change.interval.low > 0 if worse_up else change.interval.high < 0
    return Verdict(limit, drop, drop <= limit or not certain)
