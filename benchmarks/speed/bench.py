"""Speed and agreement of several artifacts in one table."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.parity.compare import Parity, compare
from emonet_deploy.benchmarks.speed.count_operations import macs_of
from emonet_deploy.benchmarks.speed.footprint import Footprint, measure_footprint
from emonet_deploy.benchmarks.speed.gpu_time_split import device_times
from emonet_deploy.benchmarks.speed.latency import Timing, time_in_turns
from emonet_deploy.benchmarks.speed.peak_compute import PEAK_MACS, peak_call
from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.backends.tensorrt.slot import DeviceTimes
from emonet_deploy.runtime.choices import Precision
from emonet_deploy.runtime.pipeline.model_io import prepare
from emonet_deploy.runtime.precision_specs import Gates

__all__ = ["BenchRow", "Candidate", "run_bench"]


PAUSE: Final = 0.02
"""Seconds between calls, in which threads of the one before go to sleep."""

PEER_TOLERANCE: Final = 0.02
"""Largest error of a float32 peer, as a share of an output's spread: more is another function."""


@dataclass(frozen=True)
class Candidate:
    """What is to be measured, loaded: an artifact, or a peer or a served one that has no file."""

    session: Session
    path: Path | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.session.provider if self.path is None else self.path.name


@dataclass(frozen=True)
class BenchRow:
    """One line of the table: an artifact at a batch size.

    Times are of one call with the whole batch, host memory to host memory, in milliseconds;
    ``n`` is how many calls were timed, ``throughput`` images per second at the median,
    ``speedup`` the reference's median at the same batch over this one's, ``macs`` the
    multiply-accumulates for one image, and ``peak_share`` how many of them are done in a second,
    as a share of what a matrix product on the CPU does, timed in turns with everything else.
    What a peer without a file does not have is None.
    ``device`` has the parts of one run of an engine, on the device.
    """

    backend: str
    provider: str
    precision: Precision
    target: str | None
    threads: int | None
    batch: int
    n: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    throughput: float
    peak_rss_mb: float | None
    cold_start_ms: float | None
    size_mb: float | None
    speedup: float
    agreement: float
    ccc_valence: float | None
    ccc_arousal: float | None
    macs: int
    peak_share: float | None
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
    agreements = []
    for candidate in candidates:
        advance(f"agreement of {candidate.name}")
        agreements.append(compare(reference.session, candidate.session, crops, Gates()))
        if candidate.path is None and candidate.session.device != "remote":
            _require_same(candidate, agreements[-1])
    rows = []
    for batch in batches:
        advance(f"speed at batch {batch}")
        calls = {-1: _call(reference.session, crops, batch), -2: peak_call()}
        calls |= {
            i: _call(c.session, crops, batch)
            for i, c in enumerate(candidates)
            if c.session is not reference.session
        }
        timings = time_in_turns(calls, seconds=seconds, pause=PAUSE)
        for i, (candidate, parity) in enumerate(zip(candidates, agreements, strict=True)):
            advance(f"memory of {candidate.name} at batch {batch}")
            timing = timings.get(i, timings[-1])
            path, macs = candidate.path, macs_of(candidate.path)
            footprint = (
                Footprint(None, None)
                if path is None
                else measure_footprint(path, candidate.session.backend, batch, threads)
            )
            peak = PEAK_MACS / timings[-2].median
            on_cpu = candidate.session.device == "cpu"
            rows.append(
                BenchRow(
                    backend=candidate.session.backend,
                    provider=candidate.session.provider,
                    precision=candidate.session.info.precision,
                    target=None if path is None else candidate.session.info.target,
                    threads=threads,
                    batch=batch,
                    n=len(timing.samples),
                    **_percentiles(timing),
                    throughput=batch / timing.median * 1e3,
                    peak_rss_mb=footprint.peak_rss_mb,
                    cold_start_ms=footprint.cold_start_ms,
                    size_mb=None if path is None else path.stat().st_size / 1e6,
                    speedup=timings[-1].median / timing.median,
                    agreement=parity.agreement,
                    ccc_valence=parity.ccc_valence,
                    ccc_arousal=parity.ccc_arousal,
                    macs=macs,
                    peak_share=batch * macs / timing.median / peak if on_cpu else None,
                    device=device_times(
                        candidate.session, _images(candidate.session, crops, batch)
                    ),
                )
            )
    return rows


def _require_same(peer: Candidate, parity: Parity) -> None:
    """Raise unless a peer computes what the reference computes: only then its time means much."""
    for name, output in parity.outputs.items():
        if not output.max_abs <= PEER_TOLERANCE * output.spread:
            share = output.max_abs / output.spread
            raise BackendError(f"{peer.name} computes another {name}: off by {share:.2g} of it")


def _percentiles(timing: Timing) -> dict[str, float]:
    return {f"p{q}_ms": timing.percentile(q) for q in (50, 90, 95, 99)}


def _call(session: Session, crops: NDArray[np.uint8], batch: int) -> Callable[[], object]:
    images = _images(session, crops, batch)
    return lambda: session.run(images)


def _images(session: Session, crops: NDArray[np.uint8], batch: int) -> Array:
    repeated = crops[np.arange(batch) % len(crops)]
    return prepare(session.info, repeated)
