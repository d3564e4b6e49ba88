"""Everything an evaluation found, in one place for the table, the JSON file and the report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.accuracy.gates import Comparison, require
from emonet_deploy.benchmarks.accuracy.protocol import Evaluation
from emonet_deploy.benchmarks.metrics.bootstrap import Interval, intervals
from emonet_deploy.benchmarks.metrics.paper_metrics import (
    accuracy,
    confusion_matrix,
    per_class_recall,
)
from emonet_deploy.benchmarks.parity.verdicts import Verdict
from emonet_deploy.emonet_ref.constants import CLASS_NAMES, Accuracy
from emonet_deploy.errors import DatasetError
from emonet_deploy.runtime.backends.session import Session

__all__ = ["Summary"]


@dataclass(frozen=True)
class Summary:
    """The figures of a run, and what ran.

    Attributes:
        run: the predictions.
        model: backend, provider, precision and checkpoint of what made them.
        accuracy: the paper's metrics.
        intervals: their bootstrap 95% intervals, by name.
        confusion: true class (row) by predicted class (column).
        recall: by class; None for a class with no sample.
        published: the paper's row, where the data set is the one it was measured on.
        check: the gates against it, if asked for.
        against: the comparison with the reference, if asked for.
    """

    run: Evaluation
    model: dict[str, str]
    accuracy: Accuracy
    intervals: dict[str, Interval | None]
    confusion: NDArray[np.int64]
    recall: list[float | None]
    published: Accuracy | None = None
    check: dict[str, Verdict] | None = None
    against: Comparison | None = None

    @classmethod
    def of(
        cls,
        run: Evaluation,
        session: Session,
        checkpoint: str,
        published: Accuracy | None = None,
    ) -> Self:
        """Compute the figures of a run on a session with the weights called ``checkpoint``."""
        nclass = run.dataset.nclass
        confusion = confusion_matrix(run.truth, run.prediction, nclass)
        model = {
            "backend": session.backend,
            "provider": session.provider,
            "precision": session.info.precision,
            "checkpoint": checkpoint,
        }
        return cls(
            run=run,
            model=model,
            accuracy=accuracy(run.truth, run.prediction),
            intervals=intervals(run.truth, run.prediction),
            confusion=confusion,
            recall=per_class_recall(confusion),
            published=published,
        )

    @property
    def throughput(self) -> float | None:
        """Samples a second, of those that were not read from a file; with flip each runs twice."""
        return self.run.fresh / self.run.seconds if self.run.fresh else None

    def require(self, artifact: str, allow_missing: bool = False) -> None:
        """Raise unless every picture was there and every gate passed.

        Raises:
            DatasetError: pictures were missing, unless that is allowed.
            ParityError: a gate failed; the message names it.
        """
        missing, n = len(self.run.missing), len(self.run.dataset)
        if missing and not allow_missing:
            raise DatasetError(
                f"{missing} of {n} pictures could not be used and the figures are of the others; "
                "--allow-missing accepts that"
            )
        if self.check is not None:
            require(self.check, f"{artifact} does not have the published accuracy")
        if self.against is not None:
            require(self.against.gates, f"{artifact} lost too much against the reference")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON result of ``emonet eval``, without the environment."""
        run, names = self.run, CLASS_NAMES[self.run.dataset.nclass]
        return {
            "nclass": run.dataset.nclass,
            **self.model,
            "data": run.dataset.name,
            "n": len(run.numbers),
            "flip": run.flip,
            **nested(self.accuracy),
            "intervals": _by_axis(
                {name: found and [found.low, found.high] for name, found in self.intervals.items()}
            ),
            "classes": list(names),
            "confusion": self.confusion.tolist(),
            "recall": dict(zip(names, self.recall, strict=True)),
            "missing": [asdict(missing) for missing in run.missing],
            "seconds": run.seconds,
            "samples_per_second": self.throughput,
            "published": None if self.published is None else nested(self.published),
            "check": None if self.check is None else _gates(self.check),
            "against": None if self.against is None else _comparison(self.against),
        }


def nested(found: Accuracy) -> dict[str, Any]:
    """Return the metrics as JSON has them: by what is predicted, then by metric."""
    return _by_axis(found.by_name())


def _by_axis(values: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        axis, metric = name.split()
        result.setdefault(axis, {})[metric] = value
    return result


def _gates(verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    return {name: asdict(verdict) for name, verdict in verdicts.items()}


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "n": found.n,
        "agreement": found.agreement,
        "ccc": {"valence": found.ccc_valence, "arousal": found.ccc_arousal},
        "changes": _by_axis({name: asdict(change) for name, change in found.changes.items()}),
        "gates": _gates(found.gates),
    }
