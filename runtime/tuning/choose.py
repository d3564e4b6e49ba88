"""Which of the measured ways is the fastest: pure functions over recorded times."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from emonet_deploy.runtime.choices import (
    Backend,
    Device,
    Interface,
    Optimize,
    Precision,
    Target,
)
from emonet_deploy.runtime.precision_specs import PRECISIONS

__all__ = ["TIE", "Configuration", "Measured", "Wanted", "choose"]

TIE: Final = 0.01
"""Ways that are slower than the fastest by no more than this share are as good: noise is larger."""


@dataclass(frozen=True)
class Configuration:
    """One way to run EmoNet, which can be measured and chosen.

    Attributes:
        purpose: ``latency`` of one image, or ``throughput`` of many.
        backend: what runs the file.
        file: name of an artifact in the record's folder; empty for the checkpoint itself.
        sha256: of the file.
        precision: of the file.
        target: of the file.
        interface: of the file.
        device: where it runs: ``cpu`` or ``cuda``.
        threads: CPU threads of the session; None on a GPU.
        batch: images of a run.
        libraries: versions of the packages that run it; see ``library_versions``.
    """

    purpose: Optimize
    backend: Backend
    file: str
    sha256: str
    precision: Precision
    target: Target
    interface: Interface
    device: Device
    threads: int | None
    batch: int
    libraries: str

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {self.threads} threads"
        return f"{self.backend} on {self.file or 'the checkpoint'}{threads}, batch {self.batch}"


@dataclass(frozen=True)
class Measured:
    """A configuration and its time.

    Attributes:
        configuration: what was measured.
        p50_ms: median of a run, with its whole batch, from crops to results.
        n: runs that were timed.
        final: whether it was timed in turns with the fastest to the end; others were far behind.
        date: of the run it was timed in, UTC; those of one run may be compared.
    """

    configuration: Configuration
    p50_ms: float
    n: int
    final: bool
    date: str

    @property
    def images_per_second(self) -> float:
        """Images a second at the median."""
        return self.configuration.batch / self.p50_ms * 1e3


@dataclass(frozen=True)
class Wanted:
    """What a configuration must be to be considered; None for whatever it is.

    Attributes:
        precision: of the file.
        target: of the file.
        device: where it runs; ``auto`` is anywhere.
        threads: of the session.
    """

    precision: Precision | None = None
    target: Target | None = None
    device: Device = "auto"
    threads: int | None = None

    def allows(self, way: Configuration) -> bool:
        """Tell whether a configuration is what is wanted."""
        return (
            self.precision in {None, way.precision}
            and self.target in {None, way.target}
            and self.device in {"auto", way.device}
            and self.threads in {None, way.threads}
        )


def choose(rows: Iterable[Measured]) -> Measured | None:
    """Return the fastest; None of none.

    Those that were timed in turns to the end are compared; only if there is none of them, the
    others. Among ways that are as fast but for ``TIE``, the more exact precision wins, then fewer
    threads, then the plain file.

    Args:
        rows: of one purpose.
    """
    found = list(rows)
    found = [row for row in found if row.final] or found
    if not found:
        return None
    best = max(row.images_per_second for row in found)
    ties = [row for row in found if row.images_per_second * (1 + TIE) >= best]
    return min(ties, key=_preference)


def _preference(row: Measured) -> tuple[int, int, bool, float]:
    way = row.configuration
    return (
        -PRECISIONS[way.precision].bits,
        way.threads or 0,
        way.target == "cpu",
        row.p50_ms / way.batch,
    )
