"""Does an artifact compute what its reference computes? Differences, and the gates they must pass.

The reference is the PyTorch EmoNet in float32. Faces are procedural ones that no calibration
has seen. Sums run in float64, batch by batch, so that memory does not grow with their number.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.metrics.output_error import Difference, DifferenceSums
from emonet_deploy.benchmarks.metrics.paper_metrics import ccc
from emonet_deploy.errors import InputError, ParityError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.pipeline.model_io import (
    prepare,
    read_head,
    results,
)
from emonet_deploy.runtime.precision_specs import Gates, gates_of

__all__ = [
    "PARITY_FACES",
    "Parity",
    "Verdict",
    "check_parity",
    "compare",
    "judge",
    "run_crops",
]

PARITY_FACES: Final = 96
"""How many unseen faces the gates are defined on."""

BATCH: Final = 8


@dataclass(frozen=True)
class Verdict:
    """One gate: its limit, what was measured, and whether that passes."""

    limit: float
    value: float | None
    passed: bool


@dataclass(frozen=True)
class Parity:
    """Agreement of an artifact with its reference on ``n`` faces."""

    n: int
    outputs: dict[str, Difference]
    agreement: float
    ccc_valence: float | None
    ccc_arousal: float | None
    gates: dict[str, Verdict]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates.values())

    def require(self, name: str) -> None:
        """Raise ``ParityError`` naming the gates that failed, if any."""
        failed = [
            f"{key} {'none' if gate.value is None else f'{gate.value:.6g}'} (gate {gate.limit:g})"
            for key, gate in self.gates.items()
            if not gate.passed
        ]
        if failed:
            raise ParityError(f"{name} does not agree with its reference: {', '.join(failed)}")

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
            "ccc": {"valence": self.ccc_valence, "arousal": self.ccc_arousal},
            "gates": {
                key: {"limit": gate.limit, "value": gate.value, "passed": gate.passed}
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
) -> Parity:
    """Run both sessions on the same crops and judge the difference.

    Args:
        reference: of the ``tensor`` interface.
        candidate: of either interface; with ``image`` the reference's outputs are postprocessed
            in NumPy first, so that the embedded processing is judged too.
        crops: N x 256 x 256 x 3, uint8 RGB.
        gates: what must be reached.
        progress: told after each batch how many crops are done, and of how many.

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
    embedded = candidate.info.interface == "image"
    sums: dict[str, DifferenceSums] = {}
    heads: dict[str, list[Array]] = {"truth": [], "made": []}

    def pairs() -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
        for start in range(0, len(crops), BATCH):
            part = crops[start : start + BATCH]
            expected = run_crops(reference, part)
            yield (results(expected) if embedded else expected), run_crops(candidate, part)
            progress(start + len(part), len(crops))

    for expected, got in pairs():
        for name, values in expected.items():
            sums.setdefault(name, DifferenceSums()).add(values, got[name])
        heads["truth"].append(_head(expected))
        heads["made"].append(_head(got))

    truth, made = (np.concatenate(heads[key]) for key in ("truth", "made"))
    outputs = {name: total.difference() for name, total in sums.items()}
    agreement = float(np.mean(truth[:, 0] == made[:, 0]))
    ccc_valence, ccc_arousal = (ccc(truth[:, i], made[:, i]) for i in (1, 2))
    verdicts = judge(gates, outputs, agreement, (ccc_valence, ccc_arousal))
    return Parity(len(crops), outputs, agreement, ccc_valence, ccc_arousal, verdicts)


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


def _head(outputs: dict[str, Array]) -> NDArray[np.float64]:
    """Class, valence and arousal of each face, N x 3; the latter two clipped as readers do."""
    head = read_head(outputs)
    return np.column_stack([head.expression, head.emotion.clip(-1, 1)])


def judge(
    gates: Gates,
    outputs: dict[str, Difference],
    agreement: float,
    cccs: tuple[float | None, float | None],
) -> dict[str, Verdict]:
    """Hold what was measured against gates.

    Args:
        gates: what must be reached.
        outputs: differences of the outputs, by name; only for ``gates.max_error``.
        agreement: share of equal classes.
        cccs: concordance correlations of valence and of arousal.
    """
    verdicts: dict[str, Verdict] = {}
    if gates.max_error is not None:
        limit = gates.max_error
        for name, output in outputs.items():
            # An output that does not vary has no spread to measure by: it must be equal.
            share = output.max_abs / output.spread if output.spread else output.max_abs
            verdicts[f"max_error_{name}"] = Verdict(limit, share, share <= limit)
    if gates.ccc is not None:
        for name, value in zip(("valence", "arousal"), cccs, strict=True):
            passed = value is not None and value >= gates.ccc
            verdicts[f"ccc_{name}"] = Verdict(gates.ccc, value, passed)
    if gates.agreement is not None:
        verdicts["agreement"] = Verdict(gates.agreement, agreement, agreement >= gates.agreement)
    return verdicts
