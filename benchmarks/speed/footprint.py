"""Memory and start-up of one artifact, measured in a process of its own.

Run as ``python -m emonet_deploy.benchmarks.speed.footprint FILE BACKEND BATCH THREADS``; prints one
JSON line.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from emonet_deploy.errors import BackendError

if TYPE_CHECKING:
    from emonet_deploy.runtime.choices import Backend

__all__ = ["Footprint", "measure_footprint"]


@dataclass(frozen=True)
class Footprint:
    """What a fresh process needs for the artifact.

    Attributes:
        peak_rss_mb: largest resident memory, in MiB; None where it cannot be told.
        cold_start_ms: from the start of the imports to the first result; None likewise.
    """

    peak_rss_mb: float | None
    cold_start_ms: float | None


def measure_footprint(
    path: str | os.PathLike[str], backend: "Backend", batch: int, threads: int | None
) -> Footprint:
    """Load an artifact in a new process, run it three times, and say what that took.

    Raises:
        BackendError: the process failed; the message carries its last line.
    """
    module = "emonet_deploy.benchmarks.speed.footprint"
    numbers = [str(batch), str(threads or 0)]
    command = [sys.executable, "-m", module, os.fspath(path), backend, *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"measuring the memory of {path} failed: {last}")
    return Footprint(**json.loads(done.stdout.splitlines()[-1]))


def _main(path: Path, backend: "Backend", batch: int, threads: int) -> Footprint:
    start = time.perf_counter()
    import numpy as np

    from emonet_deploy.runtime.backends.registry import load_session

    with load_session(path, backend, threads=threads or None) as session:
        want = session.info.inputs[0]
        images = np.zeros((batch, *(size or 1 for size in want.shape[1:])), want.dtype)
        session.run(images)
        cold_start_ms = (time.perf_counter() - start) * 1e3
        session.run(images)
        session.run(images)
    return Footprint(_peak_rss_mb(), cold_start_ms)


def _peak_rss_mb() -> float | None:
    # Linux hands getrusage's peak on from the process that started this one; VmHWM is our own.
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024)  # macOS counts bytes


if __name__ == "__main__":
    found = _main(
        Path(sys.argv[1]), cast("Backend", sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    )
    print(json.dumps(asdict(found)))
