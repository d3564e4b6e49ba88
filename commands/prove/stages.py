"""The stages of the proof, in their order; each is a process: ``python -m`` this file."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

from emonet_deploy.benchmarks.environment import describe_environment
from emonet_deploy.benchmarks.gpu.stage import (
    LEFT_OUT_CODE,
    Artifact,
    LeftOutError,
    Record,
    Settings,
    attempt,
)
from emonet_deploy.errors import BackendError, EmonetError, ParityError, one_line
from emonet_deploy.runtime.backends.registry import BACKENDS, load_session
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.choices import Backend, EngineKind, Interface, Optimize, Precision

__all__ = ["STAGES", "Stage"]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        run: does it; adds rows to the record, and raises when one of them failed.
        seconds: its limit, when the whole may take ten minutes.
        inside: its rows name files of this machine: they stay with the artifacts.
    """

    run: Callable[[Settings, Record], None]
    seconds: float
    inside: bool = False


def _environment(settings: Settings, record: Record) -> None:
    from emonet_deploy.runtime.doctor import examine

    about = describe_environment()
    about.pop("load", None)
    record.add(name="environment", **about)
    for row in examine():
        record.add(
            name=f"{row.backend}, {row.purpose}", ready=row.ready, has=row.has, missing=row.missing
        )


def _ceilings(settings: Settings, record: Record) -> None:
    from emonet_deploy.benchmarks.gpu.ceilings import measure_ceilings

    size = 4096 if settings.device == "cuda" else 128
    measure_ceilings(record, settings.device, size, settings.seconds / 4)
    record.require()


def _tests(settings: Settings, record: Record) -> None:
    """Run the tests that need a GPU, which lie beside the package in a clone."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "tests" / "gpu").is_dir():
        raise LeftOutError("the tests are not here; they come with a clone of the repository")
    report = settings.work / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-n", "0", f"--junitxml={report}", "tests/gpu"], cwd=root,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["nothing"])[-1]
    row: dict[str, Any] = {"name": "tests that need a GPU", "said": last}
    if done.returncode:
        row["failed"] = last
    record.add(**row)
    record.require()


MODELS: Final[tuple[tuple[Precision, Interface], ...]] = (
    ("fp32", "image"),
    ("fp16", "image"),
    ("int8", "image"),
    ("fp32", "tensor"),
)


def _models(settings: Settings, record: Record) -> None:
    """Have the ONNX models; those that are there are taken."""
    from emonet_deploy.commands.prepare_artifacts import obtain_model, resolve_checkpoint

    source = resolve_checkpoint(settings.checkpoint, settings.nclass, _silent)
    for precision, interface in MODELS:
        name = f"{precision} {interface}"
        with attempt(record, name):
            start = time.perf_counter()
            path = obtain_model(
                settings.nclass, precision, "gpu", interface, source, settings.work, _silent
            )
            record.add(
                name=name, seconds=time.perf_counter() - start, size_mb=path.stat().st_size / 1e6,
                artifact={"path": str(path), "backend": "onnx"},
            )  # fmt: skip
    record.require()


def _build(settings: Settings, record: Record) -> None:
    from emonet_deploy.export.tensorrt.build_engine import build_engine
    from emonet_deploy.export.tensorrt.options import BuildOptions
    from emonet_deploy.runtime.metadata import read_info

    kinds, lacks = _engine_kinds(settings)
    if not kinds:
        raise LeftOutError("; ".join(lacks))
    models = [Path(artifact.path) for artifact in settings.artifacts()]
    for kind in kinds:
        for model in models:
            if read_info(model).interface != "image":
                continue
            for optimize in cast("tuple[Optimize, ...]", ("latency", "throughput")):
                name = f"{kind} {read_info(model).precision} {optimize}"
                with attempt(record, name):
                    start = time.perf_counter()
                    built = build_engine(model, None, kind, BuildOptions(optimize=optimize))
                    tactics = Counter(layer.tactic for layer in built.layers if layer.tactic)
                    record.add(
                        name=name, seconds=time.perf_counter() - start,
                        size_mb=built.path.stat().st_size / 1e6, kernels=built.traffic.kernels,
                        megabytes=built.traffic.megabytes, types=built.traffic.convolutions,
                        tactics=dict(tactics.most_common(8)),
                        artifact={
                            "path": str(built.path), "backend": kind, "optimize": optimize
                        },
                    )  # fmt: skip
    record.require()


def _engine_kinds(settings: Settings) -> tuple[list[EngineKind], list[str]]:
    """Return the kinds of engines that run here, and what the others lack."""
    kinds: list[EngineKind] = []
    lacks = []
    for kind in get_args(EngineKind):
        if kind not in settings.backends:
            continue
        found = [requirement.find() for requirement in BACKENDS[kind].run]
        missing = [item for item in found if not (item.version or item.optional)]
        if missing:
            lacks.append(f"{kind}: {', '.join(item.state for item in missing)}")
        else:
            kinds.append(kind)
    return kinds, lacks or ["no engines were asked for"]


def _parity(settings: Settings, record: Record) -> None:
    """Hold everything that runs here against the reference on the CPU."""
    from emonet_deploy.benchmarks.parity.compare import compare
    from emonet_deploy.benchmarks.speed.reference import RememberingSession
    from emonet_deploy.commands.judging import parity_crops
    from emonet_deploy.commands.prepare_artifacts import resolve_checkpoint
    from emonet_deploy.runtime.precision_specs import gates_of

    source = resolve_checkpoint(settings.checkpoint, settings.nclass, _silent)
    faces = parity_crops(settings.faces)
    failed = []
    with load_session(source.path, device="cpu") as plain:
        reference = RememberingSession(plain)
        for name, load, gated in _candidates(settings, source.path):
            with attempt(record, name), load() as session:
                result = compare(reference, session, faces, gates_of(session.info.precision))
                record.add(
                    name=name, precision=session.info.precision, agreement=result.agreement,
                    ccc_valence=result.ccc_valence, ccc_arousal=result.ccc_arousal,
                    max_error=_worst(result), gated=gated, passed=result.passed,
                )  # fmt: skip
                if gated and not result.passed:
                    failed.append(name)
    record.require()
    if failed:
        raise ParityError(f"a gate failed: {', '.join(failed)}")


def _worst(result: Any) -> float:  # noqa: ANN401 - a Parity
    shares = (d.max_abs / d.spread for d in result.outputs.values() if d.spread)
    return max(shares, default=0.0)


Load = Callable[[], Session]


def _candidates(settings: Settings, checkpoint: Path) -> list[tuple[str, Load, bool]]:
    """Return all that runs here: name, how to open it, whether its gates bind."""
    found: list[tuple[str, Load, bool]] = [
        (_name(artifact), _opening(artifact, settings), True)
        for artifact in settings.artifacts()
        if artifact.backend in settings.backends
    ]
    if "torch" in settings.backends:
        found += [
            # Half throughout is what people run, and does not reach the gates of fp16.
            (f"PyTorch {peer}", load, peer == "eager fp32")
            for peer, load in _peers(settings, checkpoint)
        ]
    return found


def _name(artifact: Artifact) -> str:
    from emonet_deploy.runtime.metadata import read_info

    info = read_info(artifact.path)
    words = (artifact.backend, info.precision, info.interface, artifact.optimize)
    return " ".join(filter(None, words))


def _opening(artifact: Artifact, settings: Settings, graph: bool | None = None) -> Load:
    backend = cast("Backend", artifact.backend)
    device = "auto" if BACKENDS[backend].runs == "engine" else settings.device
    return lambda: load_session(artifact.path, backend, device, graph=graph)


def _peers(settings: Settings, checkpoint: Path) -> list[tuple[str, Load]]:
    import importlib.util

    import torch

    from emonet_deploy.benchmarks.gpu.peers import GPU_PEERS, Peer, open_gpu_peer
    from emonet_deploy.emonet_ref.checkpoint import load_checkpoint

    def opening(name: Peer) -> Load:
        return lambda: open_gpu_peer(name, load_checkpoint(checkpoint), settings.device)

    if settings.device == "cuda" and not torch.cuda.is_available():
        return []
    here = [
        name
        for name in GPU_PEERS
        if (name != "torch-tensorrt fp16" or importlib.util.find_spec("torch_tensorrt"))
        # Compiling takes a minute on a processor and tells nothing of a GPU.
        and (name != "compiled fp16" or settings.device == "cuda")
    ]
    return [(name, opening(name)) for name in here]


def _speed(settings: Settings, record: Record) -> None:
    from emonet_deploy.benchmarks.gpu.speed import measure_speed
    from emonet_deploy.commands.prepare_artifacts import resolve_checkpoint

    source = resolve_checkpoint(settings.checkpoint, settings.nclass, _silent)
    for name, load, _ in _candidates(settings, source.path):
        with attempt(record, name), load() as session:
            batches = settings.batches
            about: dict[str, Any] = {"precision": session.info.precision}
            if session.info.engine is not None:
                moved = session.info.engine.options.get("traffic") or {}
                about |= {"megabytes": moved.get("megabytes"), "kernels": moved.get("kernels")}
            measure_speed(
                record, name, session, batches, settings.seconds, settings.samples, **about
            )
    # What a graph gains is told by the smallest batch.
    for artifact in settings.artifacts():
        if artifact.optimize == "latency" and artifact.backend in settings.backends:
            name = f"{_name(artifact)} without a graph"
            with attempt(record, name), _opening(artifact, settings, False)() as session:
                measure_speed(
                    record,
                    name,
                    session,
                    (1,),
                    settings.seconds,
                    settings.samples,
                    precision=session.info.precision,
                )
    record.require()


def _stress(settings: Settings, record: Record) -> None:
    from emonet_deploy.benchmarks.gpu.stress import exit_with_open_session, stress

    chosen: dict[str, Artifact] = {}
    for artifact in settings.artifacts():
        if artifact.backend in settings.backends and artifact.optimize != "latency":
            chosen.setdefault(artifact.backend, artifact)
    if not chosen:
        raise LeftOutError("there is no artifact to run")
    for backend, artifact in chosen.items():
        load = _opening(artifact, settings)
        stress(record, _name(artifact), load, settings.seconds * 4, settings.device)
        device = "auto" if artifact.optimize else settings.device
        exit_with_open_session(record, artifact.path, backend, device)
    record.require()


def _silent(message: str) -> None:
    """What a stage is doing is told by its rows."""


STAGES: Final[Mapping[str, Stage]] = {
    "environment": Stage(_environment, 30),
    "ceilings": Stage(_ceilings, 45),
    "tests": Stage(_tests, 120),
    "models": Stage(_models, 240, inside=True),
    "build": Stage(_build, 240, inside=True),
    "parity": Stage(_parity, 90),
    "speed": Stage(_speed, 240),
    "stress": Stage(_stress, 60),
}
"""Every stage by name; the report, which is the ninth, is written by the command itself."""


def _main(name: str, settings_file: str) -> int:
    settings = Settings.from_json(Path(settings_file).read_text(encoding="utf-8"))
    stage = STAGES[name]
    folder = settings.work if stage.inside else settings.folder
    try:
        stage.run(settings, Record(folder / f"{name}.json"))
    except LeftOutError as reason:
        print(reason, file=sys.stderr)
        return LEFT_OUT_CODE
    except Exception as error:
        if not isinstance(error, EmonetError):
            error = BackendError(f"{type(error).__name__}: {one_line(error)}")
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
