"""Speed and agreement of several artifacts in one table."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.device_times import device_times
from emonet_deploy.benchmarks.footprint import measure_footprint
from emonet_deploy.benchmarks.latency import Timing, time_in_turns
from emonet_deploy.benchmarks.parity import Gates, compare
from emonet_deploy.runtime.engine_runner import DeviceTimes
from emonet_deploy.runtime.preprocess import to_tensor
from emonet_deploy.runtime.session import Array, Session

__all__ = ["BenchRow", "Candidate", "run_bench"]


@dataclass(frozen=True)
class Candidate:
    """An artifact to be measured, loaded."""

    path: Path
    session: Session


@dataclass(frozen=True)
class BenchRow:
    """One line of the table: an artifact at a batch size.

    Times are of one call with the whole batch, host memory to host memory, in milliseconds;
    ``n`` is how many calls were timed, ``throughput`` images per second at the median,
    ``speedup`` the reference's median at the same batch over this one's.
    ``device`` has the parts of one run of an engine, on the device.
    """

    backend: str
    provider: str
    precision: str
    batch: int
    n: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    throughput: float
    peak_rss_mb: float | None
    cold_start_ms: float | None
    size_mb: float
    speedup: float
    agreement: float
    ccc_valence: float | None
    ccc_arousal: float | None
    device: DeviceTimes | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON."""
        return asdict(self)


def run_bench(
    reference: Candidate,
    candidates: Sequence[Candidate],
    batches: Sequence[int],
    crops: NDArray[np.uint8],
    threads: int | None = None,
    seconds: float = 5.0,
    advance: Callable[[str], None] = lambda _: None,
) -> list[BenchRow]:
    """Measure the candidates against the reference, which is timed in turns with them.

    Args:
        reference: PyTorch in float32; gives a row only if it is among the candidates.
        candidates: what to measure.
        batches: batch sizes.
        crops: faces for the agreement and the timing, N x 256 x 256 x 3, uint8.
        threads: CPU threads of the sessions, for the processes that measure memory.
        seconds: measured time for each candidate and batch, on average.
        advance: told what has begun.
    """
    agreements = {}
    for candidate in candidates:
        advance(f"agreement of {candidate.path.name}")
        agreements[candidate.path] = compare(reference.session, candidate.session, crops, Gates())
    rows = []
    for batch in batches:
        advance(f"speed at batch {batch}")
        everyone = {c.path: c.session for c in (reference, *candidates)}
        timings = time_in_turns(
            {path: _call(session, crops, batch) for path, session in everyone.items()},
            seconds=seconds,
        )
        for candidate in candidates:
            advance(f"memory of {candidate.path.name} at batch {batch}")
            footprint = measure_footprint(candidate.path, batch, threads)
            timing, parity = timings[candidate.path], agreements[candidate.path]
            rows.append(
                BenchRow(
                    backend=candidate.session.backend,
                    provider=candidate.session.provider,
                    precision=candidate.session.info.precision,
                    batch=batch,
                    n=len(timing.samples),
                    **_percentiles(timing),
                    throughput=batch / timing.median * 1e3,
                    peak_rss_mb=footprint.peak_rss_mb,
                    cold_start_ms=footprint.cold_start_ms,
                    size_mb=candidate.path.stat().st_size / 1e6,
                    speedup=timings[reference.path].median / timing.median,
                    agreement=parity.agreement,
                    ccc_valence=parity.ccc_valence,
                    ccc_arousal=parity.ccc_arousal,
                    device=device_times(
                        candidate.session, _images(candidate.session, crops, batch)
                    ),
                )
            )
    return rows


def _percentiles(timing: Timing) -> dict[str, float]:
    return {f"p{q}_ms": timing.percentile(q) for q in (50, 90, 95, 99)}


def _call(session: Session, crops: NDArray[np.uint8], batch: int) -> Callable[[], object]:
    images = _images(session, crops, batch)
    return lambda: session.run(images)


def _images(session: Session, crops: NDArray[np.uint8], batch: int) -> Array:
    repeated = crops[np.arange(batch) % len(crops)]
    return repeated if session.info.interface == "image" else to_tensor(repeated)
