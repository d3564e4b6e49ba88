"""How fast a session is on a GPU, over batch sizes."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from emonet_deploy.benchmarks.gpu.stage import Record, attempt
from emonet_deploy.benchmarks.speed.gpu_time_split import device_times
from emonet_deploy.benchmarks.speed.latency import time_in_bursts
from emonet_deploy.benchmarks.speed.throughput import throughput_by_threads
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.hardware.nvidia_smi import highest_sm_clock, sm_clock

__all__ = ["measure_speed", "sample_images"]

LOW_CLOCK: Final = 0.5
"""Of the highest: below it a run is made again, as the card was at rest."""

_HEADS: Final = ("expression", "valence", "arousal")


def measure_speed(
    record: Record, name: str, session: Session, batches: Sequence[int], seconds: float,
    samples: int, **about: Any,
) -> None:  # fmt: skip
    """Measure a session at each batch size, a row each; a failing size is a row, too.

    Args:
        record: for the rows.
        name: of what is measured.
        session: warm or not.
        batches: sizes; those over an engine's largest are left out.
        seconds: for each size.
        samples: calls for each size at least.
        about: goes into each row.
    """
    highest = highest_sm_clock()
    for batch in batches:
        if session.backend in {"trt", "trt-rtx"} and batch > (session.max_batch or batch):
            continue
        with attempt(record, f"{name}, batch {batch}"):
            images = sample_images(session, batch)
            # Of heatmaps nobody asks for, the copy would be most of the time.
            wanted = _HEADS if session.info.interface == "tensor" else None
            row = _once(session, images, wanted, seconds, samples)
            if highest and row["clock_mhz"] and row["clock_mhz"] < LOW_CLOCK * highest:
                row = _once(session, images, wanted, seconds, samples) | {"repeated": True}
            record.add(
                name=name, batch=batch, **about, **row, throughput=batch / row["p50_ms"] * 1e3,
                throughput_by_threads=throughput_by_threads(session, images, seconds / 4),
            )  # fmt: skip


def _once(
    session: Session,
    images: Array,
    wanted: Sequence[str] | None,
    seconds: float,
    samples: int,
) -> dict[str, Any]:
    timing = time_in_bursts(
        {0: lambda: session.run(images, wanted)}, min(seconds, 0.5), seconds, samples=samples
    )[0]
    clock = sm_clock()
    parts = device_times(session, images)
    return {
        "n": len(timing.samples),
        "p50_ms": timing.percentile(50),
        "p90_ms": timing.percentile(90),
        "p99_ms": timing.percentile(99),
        "gpu_ms": None if parts is None else parts.compute,
        "copy_ms": None if parts is None else parts.copy_in + parts.copy_out,
        "clock_mhz": clock,
    }


def sample_images(session: Session, batch: int, seed: int = 0) -> Array:
    """Return a batch of noise as a session takes it."""
    want = session.info.inputs[0]
    rng = np.random.default_rng(seed)
    shape = (batch, *(size or 1 for size in want.shape[1:]))
    if want.dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    return rng.random(shape, np.float32)
