"""What ``emonet tune`` measures: artifacts on each backend, with threads and batches."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint
from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.errors import BackendError, MissingDependencyError
from emonet_deploy.runtime.backends.registry import BACKENDS, backends_of, require_backend
from emonet_deploy.runtime.choices import Backend, Device, Optimize
from emonet_deploy.runtime.metadata import read_info
from emonet_deploy.runtime.precision_specs import PRECISIONS
from emonet_deploy.runtime.tuning.configuration import Configuration, Measured
from emonet_deploy.runtime.tuning.machine import library_versions

__all__ = ["configurations", "engines_here", "thread_counts", "to_measure"]

GPU_BATCHES: Final = (8, 32)
LEAST_IMAGES: Final = 4
"""Images of a batch on a CPU, rounded up to a whole number for each thread."""


def engines_here(names: Sequence[Backend]) -> list[Backend]:
    """Return those backends whose engines are built, and run here."""
    return [name for name in names if BACKENDS[name].build and _runs_here(name)]


def thread_counts(processors: int) -> list[int]:
    """Return the numbers of CPU threads to try: all, half where two may share a core, and one.

    Example:
        >>> thread_counts(2), thread_counts(16)
        ([2, 1], [16, 8, 1])
    """
    half = [processors // 2] if processors >= 4 else []
    return list(dict.fromkeys([processors, *half, 1]))


def configurations(
    source: Checkpoint,
    artifacts: Sequence[Path],
    purpose: Optimize,
    backends: Sequence[Backend],
    on_gpu: bool,
    threads: Sequence[int],
) -> list[Configuration]:
    """Return the ways to run artifacts here, the most promising first.

    Args:
        source: the checkpoint, which PyTorch runs.
        artifacts: of the checkpoint.
        purpose: what they are for.
        backends: that may run them.
        on_gpu: whether they run on the GPU instead of the CPU.
        threads: numbers of CPU threads to try.
    """
    device: Device = "cuda" if on_gpu else "cpu"
    here = [name for name in backends if device in BACKENDS[name].devices and _runs_here(name)]
    found = []
    for path in (*artifacts, source.path):
        is_checkpoint = path == source.path
        fitting = [name for name in backends_of(path) if name in here]
        sha256 = sha256_file(path) if fitting else ""
        info = None if is_checkpoint else read_info(path)
        for backend in fitting:
            for count, batch in _loads(purpose, on_gpu, threads):
                found.append(
                    Configuration(
                        purpose=purpose,
                        backend=backend,
                        file="" if is_checkpoint else path.name,
                        sha256=sha256,
                        precision="fp32" if info is None else info.precision,
                        target="gpu" if info is None else info.target,
                        interface="tensor" if info is None else info.interface,
                        device=device,
                        threads=count,
                        batch=batch,
                        libraries=library_versions(backend),
                    )
                )
    return sorted(found, key=_promise)


def to_measure(
    candidates: Sequence[Configuration], known: Mapping[Configuration, Measured]
) -> list[Configuration]:
    """Return what must be timed before one of the candidates can be chosen.

    Nothing, when all times are known and the best were timed in turns within one run. Otherwise
    what is new, in turns with the best of what is known.

    Args:
        candidates: what can be chosen.
        known: times that still hold, by configuration.
    """
    new = [way for way in candidates if way not in known]
    there = [known[way] for way in candidates if way in known]
    best = [row for row in there if row.final]
    if not new and best and len({row.date for row in best}) == 1:
        return []
    if not best:
        return list(candidates)
    return [*(row.configuration for row in best), *new]


def _loads(
    purpose: Optimize, on_gpu: bool, threads: Sequence[int]
) -> Iterator[tuple[int | None, int]]:
    """Yield threads and batch of each way to use a session."""
    if on_gpu:
        yield from ((None, batch) for batch in ((1,) if purpose == "latency" else GPU_BATCHES))
    elif purpose == "latency":
        yield from ((count, 1) for count in threads)
    else:
        # One thread would leave the others idle, unless there is no other.
        several = [count for count in threads if count > 1] or list(threads)
        yield from ((count, count * -(-LEAST_IMAGES // count)) for count in several)


def _promise(way: Configuration) -> tuple[bool, int, bool, int]:
    """Order the likely fastest first, so that what is far behind is told at once."""
    return (
        way.backend == "torch",
        PRECISIONS[way.precision].bits,
        way.target == "gpu",
        -(way.threads or 0),
    )


def _runs_here(backend: Backend) -> bool:
    try:
        require_backend(backend, "run")
    except (MissingDependencyError, BackendError):
        return False
    return True
