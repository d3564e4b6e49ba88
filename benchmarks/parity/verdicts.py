"""Gates: what was measured held against what must be reached."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from emonet_deploy.benchmarks.metrics.bootstrap import Interval
from emonet_deploy.benchmarks.metrics.output_error import Difference
from emonet_deploy.runtime.precision_specs import Gates

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True)
class Verdict:
    """One gate: its limit, what was measured, and whether that passes.

    Attributes:
        limit: to be reached, or not to be exceeded.
        value: as measured; None where it is undefined.
        passed: whether the value is within the limit.
        interval: 95%, by resampling the faces; None where there is none.
    """

    limit: float
    value: float | None
    passed: bool
    interval: Interval | None = None

    @property
    def close(self) -> bool:
        """Whether other faces could well have led to the other decision."""
        found = self.interval
        return found is not None and found.low < self.limit <= found.high


def judge(
    gates: Gates,
    outputs: dict[str, Difference],
    agreement: float,
    cccs: tuple[float | None, float | None],
    found: Mapping[str, Interval | None] = MappingProxyType({}),
) -> dict[str, Verdict]:
    """Hold what was measured against gates.

    Args:
        gates: what must be reached.
        outputs: differences of the outputs, by name; only for ``gates.max_error``.
        agreement: share of equal classes, of the faces that count.
        cccs: concordance correlations of valence and of arousal.
        found: intervals of these, by the gates' names.
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
            verdicts[f"ccc_{name}"] = Verdict(gates.ccc, value, passed, found.get(f"ccc_{name}"))
    if gates.agreement is not None:
        passed = agreement >= gates.agreement
        verdicts["agreement"] = Verdict(gates.agreement, agreement, passed, found.get("agreement"))
    return verdicts
