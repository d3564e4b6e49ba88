"""Speed and agreement of several artifacts in one table.

What runs on the CPU is timed in turns, one call each, the reference among them. What runs on a GPU
has turns of its own, of many calls back to back: see ``time_in_bursts``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.parity.compare import Parity, compare
from emonet_deploy.benchmarks.speed.count_operations import macs_of
from emonet_deploy.benchmarks.speed.footprint import Footprint, measure_footprint
from emonet_deploy.benchmarks.speed.gpu_time_split import device_times
from emonet_deploy.benchmarks.speed.latency import Timing, time_in_bursts, time_in_turns
from emonet_deploy.benchmarks.speed.peak_compute import (
    ARITHMETIC,
    Arithmetic,
    Probe,
    fastest,
    probes,
)
from emonet_deploy.benchmarks.speed.reference import RememberingSession
from emonet_deploy.benchmarks.speed.throughput import throughput_by_threads
from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.backends.tensorrt.slot import DeviceTimes
from emonet_deploy.runtime.choices import Precision
from emonet_deploy.runtime.hardware.nvidia_smi import sm_clock
from emonet_deploy.runtime.pipeline.artifact_interfaces import prepare
from emonet_deploy.runtime.precision_specs import Gates

__all__ = ["BenchRow", "Candidate", "run_bench"]


PAUSE: Final = 0.02
"""Seconds between calls, in which threads of the one before go to sleep."""

PEER_TOLERANCE: Final = 0.02
"""Largest error of a float32 peer, as a share of an output's spread: more is another function."""

THREADED_SECONDS: Final = 1.0


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
    as a share of what the fastest library's matrix product in the same arithmetic does on the CPU,
    timed in turns with everything else, or of the fastest row where that is faster still.
    What a peer without a file does not have is None.
    ``device`` has the parts of one run of an engine, on the device; ``throughput_by_threads``
    images per second of a session on a GPU by how many threads run it; ``clock_mhz`` the GPU's
    clock as its calls ended; ``megabytes`` and ``kernels`` what an engine moves for an image and
    launches; ``peak_library`` whose matrix product was the fastest.
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
    throughput_by_threads: Mapping[str, float] | None = None
    clock_mhz: int | None = None
    megabytes: float | None = None
    kernels: int | None = None
    peak_library: str | None = None

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
) -> Iterator[BenchRow]:
    """Measure the candidates against the reference, which is timed in turns with those on the CPU.

    Args:
        reference: PyTorch in float32; gives a row only if it is among the candidates.
        candidates: what to measure.
        batches: batch sizes.
        crops: faces for the agreement and the timing, N x 256 x 256 x 3, uint8.
        threads: CPU threads of the sessions, for the processes that measure memory.
        seconds: measured time for each candidate and batch, on average.
        advance: told what has begun.

    Yields:
        A row as soon as it is known.
    """
    agreements = []
    remembering = RememberingSession(reference.session)
    for candidate in candidates:
        advance(f"agreement of {candidate.name}")
        agreements.append(compare(remembering, candidate.session, crops, Gates()))
        if _must_be_equal(candidate):
            _require_same(candidate, agreements[-1])
    remembering.forget()
    advance("what this machine can do")
    best = fastest(probes(threads))
    macs = [macs_of(candidate.path) for candidate in candidates]
    for batch in batches:
        advance(f"speed at batch {batch}")
        times = _timings(reference, candidates, batch, crops, best, seconds)
        peaks = _peaks(times, candidates, macs, batch)
        for i, (candidate, parity) in enumerate(zip(candidates, agreements, strict=True)):
            advance(f"memory of {candidate.name} at batch {batch}")
            yield _row(candidate, parity, times, i, batch, crops, threads, macs[i], peaks)


@dataclass(frozen=True)
class _Times:
    """What was measured at one batch size."""

    reference: Timing
    peaks: Mapping[Arithmetic, float]
    """Multiply-accumulates per millisecond of the fastest product."""
    libraries: Mapping[Arithmetic, str]
    rows: Mapping[int, Timing]
    clocks: Mapping[int, int | None]


def _timings(
    reference: Candidate,
    candidates: Sequence[Candidate],
    batch: int,
    crops: NDArray[np.uint8],
    best: Mapping[Arithmetic, Probe],
    seconds: float,
) -> _Times:
    on_gpu = [i for i, candidate in enumerate(candidates) if candidate.session.device == "cuda"]
    calls: dict[int | str, Callable[[], object]] = {
        "reference": _call(reference.session, crops, batch)
    }
    calls |= {arithmetic: probe.call for arithmetic, probe in best.items()}
    for i, candidate in enumerate(candidates):
        if i not in on_gpu and candidate.session is not reference.session:
            calls[i] = _call(candidate.session, crops, batch)
    timings = time_in_turns(calls, seconds=seconds, pause=PAUSE)
    rows = {i: timings.get(i, timings["reference"]) for i in range(len(candidates))}
    clocks: dict[int, int | None] = {}
    fast = {i: _call(candidates[i].session, crops, batch) for i in on_gpu}
    rows |= time_in_bursts(fast, seconds=seconds)
    for i, call in fast.items():
        call()
        clocks[i] = sm_clock()
    # The best call tells what the machine can do; what else it was doing in others does not.
    peaks = {name: probe.macs / min(timings[name].samples) for name, probe in best.items()}
    libraries = {name: probe.library for name, probe in best.items()}
    return _Times(timings["reference"], peaks, libraries, rows, clocks)


def _peaks(
    times: _Times, candidates: Sequence[Candidate], macs: Sequence[int], batch: int
) -> dict[Arithmetic, float]:
    """Return the most that was seen of each arithmetic: no row can be above it."""
    peaks = dict(times.peaks)
    for i, candidate in enumerate(candidates):
        if _has_share(candidate):
            kind = ARITHMETIC[candidate.session.info.precision]
            rate = batch * macs[i] / times.rows[i].median
            peaks[kind] = max(peaks.get(kind, 0.0), rate)
    return peaks


def _has_share(candidate: Candidate) -> bool:
    """Whether its operations are known: other runtimes may do fewer than the network has."""
    return candidate.session.device == "cpu" and candidate.path is not None


def _row(
    candidate: Candidate,
    parity: Parity,
    times: _Times,
    index: int,
    batch: int,
    crops: NDArray[np.uint8],
    threads: int | None,
    macs: int,
    peaks: Mapping[Arithmetic, float],
) -> BenchRow:
    session, path, timing = candidate.session, candidate.path, times.rows[index]
    footprint = Footprint(None, None)
    if path is not None:
        footprint = measure_footprint(path, session.backend, batch, threads)
    images = _images(session, crops, batch)
    by_threads = None
    if session.device == "cuda":
        by_threads = throughput_by_threads(session, images, THREADED_SECONDS)
    engine = session.info.engine
    library = times.libraries.get(ARITHMETIC[session.info.precision])
    moved = (engine.options if engine is not None else {}).get("traffic") or {}
    return BenchRow(
        backend=session.backend,
        provider=session.provider,
        precision=session.info.precision,
        target=None if path is None else session.info.target,
        threads=threads,
        batch=batch,
        n=len(timing.samples),
        **_percentiles(timing),
        throughput=batch / timing.median * 1e3,
        peak_rss_mb=footprint.peak_rss_mb,
        cold_start_ms=footprint.cold_start_ms,
        size_mb=None if path is None else path.stat().st_size / 1e6,
        speedup=times.reference.median / timing.median,
        agreement=parity.agreement,
        ccc_valence=parity.ccc_valence,
        ccc_arousal=parity.ccc_arousal,
        macs=macs,
        peak_share=batch * macs / timing.median / peaks[ARITHMETIC[session.info.precision]]
        if _has_share(candidate)
        else None,
        device=device_times(session, images),
        throughput_by_threads=by_threads,
        clock_mhz=times.clocks.get(index),
        megabytes=moved.get("megabytes"),
        kernels=moved.get("kernels"),
        peak_library=library if _has_share(candidate) else None,
    )


def _must_be_equal(candidate: Candidate) -> bool:
    """Whether nothing has judged it yet, and its precision leaves it no room for another result."""
    session = candidate.session
    is_peer = candidate.path is None and session.device != "remote"
    return is_peer and session.info.precision == "fp32"


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
