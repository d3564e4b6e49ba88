"""What several commands do together: find weights, export with proof, have artifacts at hand."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from emonet_deploy.benchmarks.metrics.output_error import Difference
from emonet_deploy.benchmarks.parity.compare import Parity
from emonet_deploy.commands.console import progress_bar
from emonet_deploy.commands.judging import judge, judged_faces, notes, parity_crops, with_record
from emonet_deploy.commands.options import Judging
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write, sha256_file
from emonet_deploy.emonet_ref.storage.path_access import is_file
from emonet_deploy.errors import ExportError, InputError
from emonet_deploy.export.choices import PlanName
from emonet_deploy.export.tensorrt.fitting_engine import fitting_engine
from emonet_deploy.runtime.backends.registry import (
    BACKENDS,
    artifact_kind,
    backends_of,
    load_session,
    require_backend,
)
from emonet_deploy.runtime.backends.tensorrt.library import EngineKind
from emonet_deploy.runtime.choices import (
    Backend,
    Interface,
    Optimize,
    Precision,
    Target,
)
from emonet_deploy.runtime.hardware.cpu import processor, usable_processors
from emonet_deploy.runtime.metadata import ModelInfo, artifact_name, read_info, write_info
from emonet_deploy.runtime.precision_specs import PRECISIONS
from emonet_deploy.runtime.tuning.configuration import Wanted
from emonet_deploy.runtime.tuning.resolve import resolve_tuned

with needs("export", "make a model from a checkpoint (one that is there already is named instead)"):
    from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint, find_checkpoint
    from emonet_deploy.export.quantization.calibrate import (
        Calibration,
        Calibrator,
        calibration_crops,
    )

if TYPE_CHECKING:
    import onnx

    from emonet_deploy.export.cpu_plan import CpuPlan
    from emonet_deploy.export.onnx import Exported

__all__ = [
    "choose_reference",
    "export_checked",
    "layer_differences",
    "load_calibration",
    "obtain",
    "obtain_model",
    "obtain_one",
    "resolve_checkpoint",
    "resolve_reference",
    "runnable",
]

Say = Callable[[str], None]

FAILED_HINT: Final = (
    "judge on crops of your own with --faces DIR; with --keep the file stays as it is, with "
    "--gate NAME=LIMIT another limit holds, and its record says so"
)


def resolve_checkpoint(name: str, nclass: int, say: Say) -> Checkpoint:
    """Return the checkpoint called ``name``; see ``find_checkpoint``."""
    source = find_checkpoint(name, nclass, notify=say)
    if source.is_standin:
        say("note: the stand-in is untrained, its predictions mean nothing")
    return source


def resolve_reference(identity: str, nclass: int, name: str | None, say: Say) -> Checkpoint:
    """Return the checkpoint an artifact was made from, or the one the user names for it.

    Raises:
        InputError: the checkpoint is a file that was not named, or not the right one.
    """
    if name is None and identity.startswith("sha256:"):
        raise InputError(
            f"the artifact came from a file ({identity[:19]}...)",
            hint="name it with --checkpoint FILE",
        )
    source = resolve_checkpoint(name or identity, nclass, say)
    if source.identity != identity:
        raise InputError(f"the artifact came from {identity}, not from {source.identity}")
    return source


def choose_reference(artifacts: Sequence[str], nclass: int, say: Say) -> Checkpoint:
    """Return what artifacts are measured against: a checkpoint among them, else the first's origin.

    Args:
        artifacts: at least one.
        nclass: of a checkpoint among them.
        say: takes a note for the user.

    Raises:
        InputError: that origin is a file that is not among them.
    """
    for path in artifacts:
        if artifact_kind(path) == "checkpoint":
            return resolve_checkpoint(path, nclass, say)
    info = _read_record(artifacts[0])
    return resolve_reference(info.checkpoint, info.nclass, None, say)


def _read_record(artifact: str) -> ModelInfo:
    if artifact_kind(artifact) != "served":
        return read_info(artifact)
    with load_session(artifact) as session:
        return session.info


def layer_differences(artifact: Path, source: Checkpoint) -> dict[str, Difference]:
    """Compare an ONNX model with its reference layer by layer, on four faces.

    Raises:
        InputError: the artifact is not an ONNX model.
    """
    from emonet_deploy.benchmarks.parity.layers import compare_layers
    from emonet_deploy.emonet_ref.checkpoint import load_checkpoint

    if artifact.suffix != ".onnx":
        raise InputError(f"layers can only be compared in an ONNX model, not in {artifact}")
    return compare_layers(load_checkpoint(source.path), artifact, parity_crops(4))


def export_checked(
    nclass: int,
    source: Checkpoint,
    out: Path,
    say: Say,
    target: Target = "gpu",
    precision: Precision = "fp32",
    interface: Interface = "tensor",
    calibration: Calibration | None = None,
    judging: Judging | None = None,
    plan: PlanName = "measured",
) -> tuple["Exported", Parity]:
    """Export under a temporary name; the file gets its own only when it agrees.

    Args:
        nclass: 5 or 8.
        source: the checkpoint.
        out: folder of the artifacts.
        say: takes a line for the user.
        target: what the artifact is for.
        precision: of the convolutions.
        interface: of the artifact.
        calibration: faces and budget; for int8 of a stand-in drawn ones if None.
        judging: on which faces, against which gates; with ``keep`` the file stays if one fails.
        plan: how a float32 graph is rewritten for CPUs: as it pays here, or on many processors.

    Raises:
        ParityError: the export does not agree with the reference; nothing is kept.
        ExportError: the export failed, or ``out`` cannot be written.
    """
    from emonet_deploy.emonet_ref.checkpoint import load_checkpoint
    from emonet_deploy.export.cpu_plan import generic_plan
    from emonet_deploy.export.onnx import Exported, export_onnx

    judging = judging or Judging()
    if precision == "int8" and calibration is None:
        calibration = load_calibration(None, source.identity)
    faces = judged_faces(judging.faces, seen=None if calibration is None else calibration.images)
    for note in notes(source, judging.faces):
        say(note)
    for backend in PRECISIONS[precision].backends or ():
        require_backend(backend, "run")  # before the work: it proves the file
    model = load_checkpoint(source.path, nclass)
    make_plan = partial(measured_plan, say) if plan == "measured" else generic_plan
    path = out / artifact_name(nclass, precision, target, interface)
    with atomic_write(path, ExportError) as temporary:
        say(f"exporting {source.identity} with {nclass} classes to ONNX in {precision}")
        if precision == "int8" and calibration is not None:
            say(f"calibrating on {len(calibration.images)} faces; this takes minutes")
        exported = export_onnx(
            model, temporary, source.identity, sha256_file(source.path), target, precision,
            interface, calibration, make_plan,
        )  # fmt: skip
        say(f"comparing it with the reference on {len(faces.first)} faces")
        with (
            load_session(source.path, device="cpu") as reference,
            load_session(temporary, device="cpu") as made,
            progress_bar("comparing") as progress,
        ):
            gates = judging.gate or ()
            result = judge(source, reference, made, str(temporary), faces, gates, progress)
        info = with_record(exported.info, result, faces)
        write_info(temporary, info)
        if not judging.keep:
            result.require(f"the {precision} model", FAILED_HINT)
    return Exported(path, info), result


def measured_plan(say: Say, model: "onnx.ModelProto") -> "CpuPlan":
    """Return how a plain graph is rewritten so that it is fastest on this processor.

    Each shape is timed alone, then whole graphs on all threads and on one: no rewrite, none of
    Winograd, what was found, and what pays on many processors. None that is slower than the plain
    graph is chosen.
    """
    from emonet_deploy.benchmarks.tuning.rewrites import choose_rewrite, choose_tiles, time_models
    from emonet_deploy.export.cpu_plan import TILES, CpuPlan, shape_trial, whole_trial
    from emonet_deploy.export.passes.winograd import PLAN, winograd_shapes

    processors = usable_processors()
    say("timing how each convolution is fastest on this processor")
    shapes = {
        shape: time_models({m: shape_trial(shape, m or None) for m in (0, *TILES)}, processors)
        for shape in winograd_shapes(model)
    }
    plans = {"plain": None, "pointwise": {}, "measured": choose_tiles(shapes), "generic": PLAN}
    graphs = {name: whole_trial(model, tiles) for name, tiles in plans.items()}
    times = {n: time_models(graphs, n, seconds=1.0) for n in dict.fromkeys((processors, 1))}
    name = choose_rewrite(times)
    shown = ", ".join(
        f"{found[name] / found['plain']:.2f} on {n} threads" for n, found in times.items()
    )
    say(f"rewriting as {name}: times of the plain graph: {shown}")
    evidence = {"rewrite": name, "cpu": processor()[0], "ms": {str(n): t for n, t in times.items()}}
    return CpuPlan(plans[name], "measured", evidence)


def load_calibration(
    folder: Path | None,
    identity: str,
    budget: float | None = None,
    calibrator: Calibrator = "minmax",
) -> Calibration:
    """Return the faces of a folder, or procedural ones, which are for the stand-in alone."""
    images = calibration_crops(folder, identity)
    return Calibration(images, "procedural" if folder is None else folder.name, budget, calibrator)


def runnable(artifacts: Iterable[str], engines: Sequence[Backend]) -> list[tuple[str, Backend]]:
    """Return each artifact with each of the engines that run it; named none, with its own.

    Raises:
        InputError: none of the engines runs an artifact, or an engine runs none of them.
    """
    pairs: list[tuple[str, Backend]] = []
    for path in artifacts:
        fitting = backends_of(path)
        wanted = [engine for engine in engines if engine in fitting] if engines else fitting[:1]
        if not wanted:
            raise InputError(f"{path} is run by {' or '.join(fitting)}; add that to --engine")
        pairs += [(path, engine) for engine in wanted]
    idle = [engine for engine in engines if engine not in {used for _, used in pairs}]
    if idle:
        raise InputError(
            f"none of the artifacts runs on {', '.join(idle)}; drop that from --engine"
        )
    return pairs


def obtain(
    engines: Iterable[Backend],
    precisions: Sequence[Precision],
    nclass: int,
    source: Checkpoint,
    out: Path,
    say: Say,
    targets: Sequence[Target] = ("gpu",),
    optimize: Optimize = "throughput",
) -> list[tuple[Path, Backend]]:
    """Return the artifacts that engines and precisions name, each with what runs it.

    Those that are missing are made. Engines have the ``image`` interface: on a GPU that is fast,
    the processor would spend more time on a face than the network does.

    Args:
        engines: what shall run them.
        precisions: of the models.
        nclass: of the checkpoint.
        source: the checkpoint.
        out: folder of the artifacts.
        say: told what is made.
        targets: of ONNX models.
        optimize: what engines are for.

    Raises:
        InputError: a served model was asked for.
        ExportError: one could not be made.
    """

    def models(made_for: Sequence[Target], interface: Interface = "tensor") -> list[Path]:
        return [
            obtain_model(nclass, precision, target, interface, source, out, say)
            for precision in precisions
            for target in made_for
        ]

    found: list[tuple[Path, Backend]] = []
    for engine in engines:
        match BACKENDS[engine].runs:
            case "checkpoint":
                found.append((source.path, engine))
            case "onnx":
                found += [(model, engine) for model in models(targets)]
            case "engine":
                kind = cast("EngineKind", engine)
                found += [
                    (fitting_engine(model, kind, say, optimize), engine)
                    for model in models(["gpu"], "image")
                ]
            case "served":
                raise InputError(
                    "a served model has no file", hint="name its address instead of --engine v2"
                )
    return found


def obtain_one(
    engine: Backend | None,
    wanted: Wanted,
    nclass: int,
    source: Checkpoint,
    out: Path,
    say: Say,
    optimize: Optimize = "throughput",
) -> tuple[Path, Backend, int | None]:
    """Return the artifact to run, what runs it, and on how many threads.

    Args:
        engine: what shall run it; None takes the way that ``emonet tune`` chose, where that still
            holds, and ONNX Runtime elsewhere.
        wanted: what else is asked for; without a precision fp32, without a target one for GPUs.
        nclass: of the checkpoint.
        source: the checkpoint.
        out: folder of the artifacts and of the record.
        say: told what is made, and which way was chosen.
        optimize: what it is for.

    Raises:
        InputError: a served model was asked for.
        ExportError: it could not be made.
    """
    if engine is None:
        tuned = resolve_tuned(out, nclass, source.identity, source.path, optimize, wanted)
        if tuned.note:
            say(tuned.note)
        if tuned.way is not None and tuned.path is not None:
            return tuned.path, tuned.way.backend, tuned.way.threads
    precision, target = wanted.precision or "fp32", wanted.target or "gpu"
    ((path, backend),) = obtain(
        [engine or "onnx"], [precision], nclass, source, out, say, [target], optimize
    )
    return path, backend, wanted.threads


def obtain_model(
    nclass: int,
    precision: Precision,
    target: Target,
    interface: Interface,
    source: Checkpoint,
    out: Path,
    say: Say,
) -> Path:
    """Return an ONNX model of a checkpoint, made when it is missing or of another one."""
    path = out / artifact_name(nclass, precision, target, interface)
    if not is_file(path) or read_info(path).checkpoint != source.identity:
        say(f"no {path} of the checkpoint {source.identity} yet; making it")
        export_checked(nclass, source, out, say, target, precision, interface)
    return path
