"""What ``emonet tune`` measures: artifacts that are exact enough, in each way they can run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint
from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.emonet_ref.storage.path_access import is_file
from emonet_deploy.errors import ArtifactError, BackendError, MissingDependencyError
from emonet_deploy.runtime.backends.registry import BACKENDS, backends_of, require_backend
from emonet_deploy.runtime.choices import (
    Backend,
    Device,
    Interface,
    Optimize,
    Precision,
    Target,
)
from emonet_deploy.runtime.metadata import ModelInfo, artifact_name, read_info
from emonet_deploy.runtime.precision_specs import PRECISIONS
from emonet_deploy.runtime.tuning.choose import Configuration, Measured
from emonet_deploy.runtime.tuning.machine import library_versions

__all__ = [
    "Floor",
    "configurations",
    "engines_here",
    "find_artifacts",
    "models",
    "thread_counts",
    "to_measure",
]

GPU_BATCHES: Final = (8, 32)
LEAST_IMAGES: Final = 4
"""Images of a batch on a CPU, rounded up to a whole number for each thread."""


@dataclass(frozen=True)
class Floor:
    """How exact an artifact must be.

    Attributes:
        precision: the fewest bits of a weight are those of this one.
        min_ccc: lowest concordance with the reference, of valence and of arousal, as recorded when
            the artifact was judged; None for whatever its precision's gates ask for.
    """

    precision: Precision = "fp32"
    min_ccc: float | None = None

    @property
    def precisions(self) -> list[Precision]:
        """The precisions that may be chosen, the most exact first."""
        least = PRECISIONS[self.precision].bits
        return [name for name, spec in PRECISIONS.items() if spec.bits >= least]

    def refuses(self, info: ModelInfo) -> str:
        """Return why an artifact may not be chosen; empty if it may."""
        if info.precision not in self.precisions:
            return f"it is {info.precision}, below {self.precision}"
        judged = info.parity
        if judged is None:
            return "it was never judged against its reference; export it again"
        if judged.get("passed") is not True:
            return "a gate failed when it was made"
        # Float32 has no such gate: its own, on the largest error, is far stricter.
        if self.min_ccc is None or info.precision == "fp32":
            return ""
        gates = judged.get("gates", {})
        for name in ("ccc_valence", "ccc_arousal"):
            value = gates.get(name, {}).get("value")
            if not (isinstance(value, float | int) and value >= self.min_ccc):
                return f"its {name} is {value}, below {self.min_ccc:g}"
        return ""


def models(
    precisions: Sequence[Precision], on_gpu: bool, everything: bool
) -> list[tuple[Precision, Target]]:
    """Return which ONNX models are made when they are missing.

    Args:
        precisions: that may be chosen.
        on_gpu: whether they run on a GPU, where models for CPUs are not wanted.
        everything: also those that take minutes; else float32 alone.
    """
    wanted: list[Target] = ["gpu"] if on_gpu else ["gpu", "cpu"]
    return [
        (precision, target)
        for precision in precisions
        for target in wanted
        if target in PRECISIONS[precision].gates and (everything or precision == "fp32")
        if on_gpu or precision != "fp16"  # which processors compute in float32
    ]


def engines_here(names: Sequence[Backend]) -> list[Backend]:
    """Return those backends whose engines are built, and run here."""
    return [name for name in names if BACKENDS[name].build and _runs_here(name)]


def find_artifacts(
    out: Path, nclass: int, identity: str, floor: Floor, say: Callable[[str], None]
) -> list[Path]:
    """Return the artifacts of a checkpoint in a folder that are exact enough.

    Args:
        out: the folder.
        nclass: of the checkpoint.
        identity: of the checkpoint.
        floor: how exact they must be.
        say: told which are left out, and why.
    """
    names = [
        artifact_name(nclass, precision, target, interface)
        for precision in floor.precisions
        for target in get_args(Target)
        for interface in get_args(Interface)
    ]
    paths = [out / name for name in names if is_file(out / name)]
    paths += sorted(out.glob(f"emonet_{nclass}.*.plan"))
    found = []
    for path in paths:
        try:
            info = read_info(path)
        except ArtifactError as error:
            say(f"left out: {error.message}")
            continue
        other = f"it is of {info.checkpoint}" if info.checkpoint != identity else ""
        if problem := other or floor.refuses(info):
            say(f"left out: {path.name}: {problem}")
        else:
            found.append(path)
    return found


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
