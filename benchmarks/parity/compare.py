"""Does an artifact compute what its reference computes? Differences, and the gates they must pass.

The reference is the PyTorch EmoNet in float32. Faces are procedural ones that no calibration
has seen, or the user's own. Sums run in float64, batch by batch, so that memory does not grow with
their number. Where the decision is close, it is taken on more faces.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.metrics.bootstrap import Interval, intervals
from emonet_deploy.benchmarks.metrics.output_error import Difference, DifferenceSums
from emonet_deploy.benchmarks.metrics.paper_metrics import Labels, ccc
from emonet_deploy.benchmarks.parity.ties import Agreement, count_equal
from emonet_deploy.benchmarks.parity.verdicts import Verdict, judge
from emonet_deploy.errors import InputError, ParityError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.pipeline.artifact_interfaces import Head, prepare, read_head, results
from emonet_deploy.runtime.pipeline.postprocess import softmax
from emonet_deploy.runtime.precision_specs import Gates, gates_of

__all__ = [
    "PARITY_FACES",
    "Parity",
    "check_parity",
    "compare",
    "run_crops",
]

PARITY_FACES: Final = 96
"""How many unseen faces the gates are defined on."""

BATCH: Final = 8


@dataclass(frozen=True)
class Parity:
    """Agreement of an artifact with its reference on ``n`` faces."""

    n: int
    outputs: dict[str, Difference]
    agreement: float
    ties: int
    """Faces whose two best classes the precision cannot tell apart; no gate counts them."""
    tie_margin: float
    """Difference of two probabilities below which they are a tie; see ``ties``."""
    ccc_valence: float | None
    ccc_arousal: float | None
    gates: dict[str, Verdict]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates.values())

    def require(self, name: str, hint: str | None = None) -> None:
        """Raise ``ParityError`` naming the gates that failed, if any."""
        failed = [
            f"{key} {'none' if gate.value is None else f'{gate.value:.6g}'} (gate {gate.limit:g})"
            for key, gate in self.gates.items()
            if not gate.passed
        ]
        if failed:
            raise ParityError(
                f"{name} does not agree with its reference on {self.n} faces: {', '.join(failed)}",
                hint=hint,
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the measured part of the JSON result of ``emonet parity``."""
        return {
            "n": self.n,
            "outputs": {
                name: {
                    "max_abs": d.max_abs,
                    "mean_abs": d.mean_abs,
                    "cosine": d.cosine,
                    "snr_db": d.snr_db,
                    "spread": d.spread,
                }
                for name, d in self.outputs.items()
            },
            "agreement": self.agreement,
            "ties": {"faces": self.ties, "margin": self.tie_margin},
            "ccc": {"valence": self.ccc_valence, "arousal": self.ccc_arousal},
            "gates": {
                key: {
                    "limit": gate.limit,
                    "value": gate.value,
                    "passed": gate.passed,
                    "interval": gate.interval and [gate.interval.low, gate.interval.high],
                }
                for key, gate in self.gates.items()
            },
            "passed": self.passed,
        }


def run_crops(session: Session, crops: NDArray[np.uint8]) -> dict[str, Array]:
    """Run crops N x 256 x 256 x 3 through a session of either interface."""
    return session.run(prepare(session.info, crops))


def compare(
    reference: Session,
    candidate: Session,
    crops: NDArray[np.uint8],
    gates: Gates,
    progress: Callable[[int, int], None] = lambda done, total: None,
    more: Callable[[], NDArray[np.uint8]] | None = None,
) -> Parity:
    """Run both sessions on the same crops and judge the difference.

    Args:
        reference: of the ``tensor`` interface.
        candidate: of either interface; with ``image`` the reference's outputs are postprocessed
            in NumPy first, so that the embedded processing is judged too.
        crops: N x 256 x 256 x 3, uint8 RGB.
        gates: what must be reached.
        progress: told after each batch how many crops are done, and of how many.
        more: gives further crops, which are run as well where a gate's decision is close.

    Raises:
        InputError: the two do not have the same classes, or there are no crops.
    """
    if reference.info.nclass != candidate.info.nclass:
        raise InputError(
            f"cannot compare {candidate.info.nclass} classes with {reference.info.nclass}; "
            "name the right reference"
        )
    if not len(crops):
        raise InputError("parity needs at least one face")
    comparison = _Comparison(reference, candidate, progress)
    comparison.run(crops)
    result = comparison.judge(gates)
    if more is not None and any(gate.close for gate in result.gates.values()):
        comparison.run(more())
        result = comparison.judge(gates)
    return result


class _Comparison:
    """What two sessions make of the same faces, summed up."""

    def __init__(
        self, reference: Session, candidate: Session, progress: Callable[[int, int], None]
    ) -> None:
        self._reference, self._candidate, self._progress = reference, candidate, progress
        self._sums: dict[str, DifferenceSums] = {}
        self._heads: list[tuple[Head, Head]] = []
        self._done = 0

    def run(self, crops: NDArray[np.uint8]) -> None:
        embedded = self._candidate.info.interface == "image"
        total = self._done + len(crops)
        for start in range(0, len(crops), BATCH):
            part = crops[start : start + BATCH]
            expected = run_crops(self._reference, part)
            expected = results(expected) if embedded else expected
            got = run_crops(self._candidate, part)
            for name, values in expected.items():
                self._sums.setdefault(name, DifferenceSums()).add(values, got[name])
            self._heads.append((read_head(expected), read_head(got)))
            self._done += len(part)
            self._progress(self._done, total)

    def judge(self, gates: Gates) -> Parity:
        embedded = self._candidate.info.interface == "image"
        truth, made = (
            (
                np.concatenate([pair[i].scores for pair in self._heads]),
                np.concatenate([pair[i].emotion for pair in self._heads]).clip(-1, 1),
            )
            for i in (0, 1)
        )
        scores = [each[0] if embedded else softmax(each[0]) for each in (truth, made)]
        agreement = count_equal(scores[0], scores[1], gates)
        outputs = {name: total.difference() for name, total in self._sums.items()}
        cccs = ccc(truth[1][:, 0], made[1][:, 0]), ccc(truth[1][:, 1], made[1][:, 1])
        found = _intervals(scores, (truth[1], made[1]), agreement)
        apart = agreement.share_apart
        return Parity(
            n=self._done,
            outputs=outputs,
            agreement=agreement.share,
            ties=int(agreement.tied.sum()),
            tie_margin=agreement.margin,
            ccc_valence=cccs[0],
            ccc_arousal=cccs[1],
            gates=judge(gates, outputs, 1.0 if apart is None else apart, cccs, found),
        )


def _intervals(
    scores: Sequence[Array], emotions: Sequence[NDArray[np.float64]], agreement: Agreement
) -> dict[str, Interval | None]:
    """Return the 95% interval of each gate's value, by the gate's name; none for what is NaN."""
    if not all(np.isfinite(each).all() for each in emotions):
        return {}
    truth, made = (
        Labels(score.argmax(1), emotion[:, 0], emotion[:, 1])
        for score, emotion in zip(scores, emotions, strict=True)
    )
    every = intervals(truth, made)
    apart = ~agreement.tied
    found = {"ccc_valence": every["valence CCC"], "ccc_arousal": every["arousal CCC"]}
    if apart.any():
        found["agreement"] = intervals(truth[apart], made[apart])["expression ACC"]
    return found


def check_parity(reference: Session, candidate: Session, crops: NDArray[np.uint8]) -> Parity:
    """Compare with the candidate's gates.

    Raises:
        ParityError: a gate failed; the message names it.
    """
    result = compare(
        reference, candidate, crops, gates_of(candidate.info.precision, candidate.info.target)
    )
    result.require(f"the {candidate.info.precision} model")
    return result
