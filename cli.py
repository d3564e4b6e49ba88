"""The command line: parse, compose, print.

Results go to standard output, progress and warnings to standard error. Exit codes: 0 good,
1 error, 2 usage, 3 a parity or accuracy gate failed. Heavy imports live inside the commands, so
that ``emonet --help`` starts at once.
"""

import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

from emonet_deploy import __version__
from emonet_deploy.console import (
    number,
    phase_bar,
    print_accuracy,
    print_differences,
    print_parity,
    print_table,
    progress_bar,
    say,
    write_csv,
    write_json,
)
from emonet_deploy.emonet_ref.contract import CLASS_NAMES
from emonet_deploy.emonet_ref.extras import needs
from emonet_deploy.errors import EmonetError, InputError, ParityError

if TYPE_CHECKING:
    from emonet_deploy.runtime.predictor import Prediction
    from emonet_deploy.runtime.tensorrt_library import EngineKind

__all__ = ["app", "main"]

ERROR, GATE_FAILED = 1, 3


class _Commands(TyperGroup):
    """The one place where errors become a line and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own context and result
        try:
            return super().invoke(ctx)
        except EmonetError as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            say(f"error: {error}")
            raise typer.Exit(GATE_FAILED if isinstance(error, ParityError) else ERROR) from error
        except KeyboardInterrupt as interrupt:
            say("interrupted; nothing half-done was kept")
            raise typer.Exit(130) from interrupt


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="EmoNet in production: export to ONNX and TensorRT, run, measure, and prove agreement.",
)
checkpoint_app = typer.Typer(no_args_is_help=True, help="Get, check or make a checkpoint.")
app.add_typer(checkpoint_app, name="checkpoint")
dataset_app = typer.Typer(no_args_is_help=True, help="Make data sets.")
app.add_typer(dataset_app, name="dataset")

NClass = Annotated[int, typer.Option("--nclass", help="Number of emotion classes: 5 or 8.")]
CheckpointName = Annotated[
    str,
    typer.Option(
        "--checkpoint", help="original (cached, else fetched), standin, standin:SEED, or a file."
    ),
]
Engines = Annotated[
    str,
    typer.Option("--engine", "--backend", help="torch, onnx, trt, trt-rtx; several with commas."),
]
Artifacts = Annotated[Path, typer.Option("--out", help="Folder of the artifacts.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result there as JSON.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Threads = Annotated[int | None, typer.Option("--threads", help="CPU threads of one run.", min=1)]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    if version:
        print(f"emonet-deploy {__version__}")
        raise typer.Exit


@checkpoint_app.command("fetch")
def checkpoint_fetch(
    nclass: Annotated[
        int | None, typer.Option("--nclass", help="5 or 8; both if left out.")
    ] = None,
) -> None:
    """Download the authors' weights (CC BY-NC-ND 4.0) and check their hash."""
    with needs("export", "read checkpoints"):
        from emonet_deploy.emonet_ref.checkpoint import fetch_checkpoint

    for classes in sorted(CLASS_NAMES) if nclass is None else [nclass]:
        with progress_bar(f"emonet_{classes}.pth") as progress:
            path = fetch_checkpoint(classes, notify=say, progress=progress)
        print(f"{path}\toriginal")


@checkpoint_app.command("verify")
def checkpoint_verify(
    path: Path, nclass: Annotated[int | None, typer.Option(help="Classes it must have.")] = None
) -> None:
    """Check that a file is a usable checkpoint, and say which."""
    with needs("export", "read checkpoints"):
        from emonet_deploy.emonet_ref.checkpoint import identify_checkpoint, load_checkpoint

    model = load_checkpoint(path, nclass)
    print(f"{path}\t{model.nclass} classes\t{identify_checkpoint(path)}")


@checkpoint_app.command("standin")
def checkpoint_standin(
    nclass: NClass = 8,
    seed: Annotated[int, typer.Option(help="Seed of the weights.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Copy it there.")] = None,
) -> None:
    """Make a checkpoint of untrained weights, to try everything without the originals."""
    from emonet_deploy.emonet_ref.files import atomic_write
    from emonet_deploy.errors import CheckpointError
    from emonet_deploy.recipes import source_of

    path = source_of(f"standin:{seed}", nclass, say).path
    if out is not None:
        with atomic_write(out, CheckpointError) as temporary:
            temporary.write_bytes(path.read_bytes())
    print(out or path)


@dataset_app.command("make")
def dataset_make(
    folder: Path,
    n: Annotated[int, typer.Option("--n", help="Number of samples.", min=1)] = 500,
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    seed: Annotated[int, typer.Option(help="Of faces and labels.", min=0)] = 0,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Write procedural faces in AffectNet's layout, labelled around a checkpoint's outputs."""
    from emonet_deploy.benchmarks.procedural import make_procedural
    from emonet_deploy.recipes import source_of
    from emonet_deploy.runtime.session import load_session

    source = source_of(checkpoint, nclass, say)
    with (
        load_session(source.path, device=_device(device), threads=threads) as reference,
        progress_bar("drawing") as progress,
    ):
        make_procedural(folder, reference, n, seed, progress)
    print(f"{folder}\t{n} samples")


@app.command()
def export(
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    out: Artifacts = Path("artifacts"),
    json_file: JsonFile = None,
) -> None:
    """Write the reference as ONNX; done only when it was shown to compute the same."""
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.recipes import export_checked, source_of

    source = source_of(checkpoint, nclass, say)
    path, result = export_checked(nclass, source, out, say)
    print_parity(result)
    write_json(
        json_file,
        {
            "artifact": str(path),
            "reference": source.identity,
            **result.to_dict(),
            "environment": describe_environment(),
        },
    )
    print(f"done: {path} ({path.stat().st_size / 1e6:.1f} MB)")


@app.command()
def build(
    model: Annotated[Path, typer.Argument(help="An ONNX model of this toolkit.")],
    engine: Annotated[
        str, typer.Option("--engine", "--backend", help="trt (on its GPU) or trt-rtx (anywhere).")
    ] = "trt",
    max_batch: Annotated[int, typer.Option(help="Largest batch at once.")] = 16,
    opt_batch: Annotated[
        int | None, typer.Option(help="Batch to be fastest at; by default 8 or the largest.")
    ] = None,
    min_batch: Annotated[int, typer.Option(help="Smallest batch.")] = 1,
    sm: Annotated[
        str, typer.Option(help="trt-rtx: compute capabilities, as 75,80,86,89,120,121.")
    ] = "",
    workspace: Annotated[int | None, typer.Option(help="Limit of scratch memory, MiB.")] = None,
    level: Annotated[
        int | None, typer.Option(help="0 builds fastest, 5 looks longest for a fast engine.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The engine, or its folder; by default beside the model.")
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", help="Write what each layer became as JSON.")
    ] = None,
) -> None:
    """Compile an ONNX model into a TensorRT engine."""
    from emonet_deploy.export.build_options import BuildOptions
    from emonet_deploy.export.engine import build_engine
    from emonet_deploy.export.layers import report

    if engine not in {"trt", "trt-rtx"}:
        raise InputError(f"--engine must be trt or trt-rtx, not {engine}")
    options = BuildOptions(
        max_batch, opt_batch, min_batch, tuple(map(_positive, filter(None, sm.split(",")))),
        workspace, level,
    )  # fmt: skip
    with phase_bar(f"building {model.name}") as progress:
        built = build_engine(model, out, cast("EngineKind", engine), options, progress)
    layers = report(built.layers, built.convolutions)
    write_json(report_file, layers)
    print(layers["summary"])
    print(f"done: {built.path} ({built.path.stat().st_size / 1e6:.1f} MB)")


@app.command()
def parity(
    artifact: Path,
    checkpoint: Annotated[
        str | None, typer.Option(help="The reference; by default the one it was made from.")
    ] = None,
    faces: Annotated[int, typer.Option("--n", help="Number of procedural faces.", min=2)] = 96,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also after each layer of an ONNX model, on 4 faces.")
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    json_file: JsonFile = None,
) -> None:
    """Compare an artifact with the reference it came from; exit code 3 when a gate fails."""
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.benchmarks.parity import GATES, compare
    from emonet_deploy.recipes import layer_differences, parity_crops, reference_of
    from emonet_deploy.runtime.session import load_session

    with load_session(artifact, device=_device(device), threads=threads) as session:
        info = session.info
        source = reference_of(info.checkpoint, info.nclass, checkpoint, say)
        with (
            load_session(source.path, device="cpu", threads=threads) as reference,
            progress_bar("comparing") as progress,
        ):
            result = compare(
                reference, session, parity_crops(faces), GATES[info.precision], progress
            )
    inside = layer_differences(artifact, source) if layers else {}
    print_differences("layer", inside)
    print_parity(result)
    write_json(
        json_file,
        {
            "artifact": str(artifact),
            "reference": source.identity,
            **result.to_dict(),
            **({"layers": {name: asdict(d) for name, d in inside.items()}} if layers else {}),
            "environment": describe_environment(),
        },
    )
    result.require(str(artifact))


@app.command()
def bench(
    artifacts: Annotated[
        list[Path] | None, typer.Argument(help="Artifacts; by default those of the options.")
    ] = None,
    engine: Engines = "torch,onnx",
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8; several with commas.")] = "fp32",
    batch: Annotated[str, typer.Option(help="Batch sizes, with commas.")] = "1",
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    out: Artifacts = Path("artifacts"),
    device: Device = "auto",
    threads: Threads = None,
    seconds: Annotated[float, typer.Option(help="Measured time a row, on average.", min=0.1)] = 5.0,
    faces: Annotated[int, typer.Option("--n", help="Faces for the agreement.", min=2)] = 32,
    json_file: JsonFile = None,
) -> None:
    """Measure speed, memory and agreement in one table; backends are timed in turns."""
    from emonet_deploy.benchmarks.bench import Candidate, run_bench
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.recipes import engines_of, obtain, parity_crops, source_of
    from emonet_deploy.runtime.session import load_session

    batches = [_positive(text) for text in batch.split(",")]
    engines = [] if artifacts else engines_of(engine)
    source = source_of(checkpoint, nclass, say)
    paths = artifacts or obtain(engines, precision.split(","), nclass, source, out, say)
    loaded = [
        Candidate(path, load_session(path, device=_device(device), threads=threads))
        for path in dict.fromkeys([source.path, *paths])
    ]
    rows = run_bench(
        loaded[0],
        [candidate for candidate in loaded if candidate.path in paths],
        batches,
        parity_crops(faces),
        threads,
        seconds,
        say,
    )
    print_table(
        ("engine", "precision", "batch", "p50 ms", "p95 ms", "images/s", "speed-up", "RSS MB",
         "start ms", "size MB", "equal classes", "CCC v", "CCC a"),
        [
            (r.backend, r.precision, r.batch, f"{r.p50_ms:.1f}", f"{r.p95_ms:.1f}",
             f"{r.throughput:.2f}", f"{r.speedup:.2f}", number(r.peak_rss_mb, ".0f"),
             number(r.cold_start_ms, ".0f"), f"{r.size_mb:.1f}", f"{r.agreement:.1%}",
             number(r.ccc_valence, ".5f"), number(r.ccc_arousal, ".5f"))
            for r in rows
        ],
    )  # fmt: skip
    environment = describe_environment()
    write_json(json_file, {"environment": environment, "rows": [row.to_dict() for row in rows]})


@app.command("eval")
def evaluate(
    artifact: Annotated[
        Path | None, typer.Argument(help="Artifact; by default that of the options.")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", "--backend", help="What runs it.")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    nclass: Annotated[
        int | None, typer.Option(help="5 or 8; by default the artifact's, else 8.")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="original, standin, standin:SEED or a file; else the artifact's."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="AffectNet's root or a CSV table; procedural faces if left out."),
    ] = None,
    split: Annotated[str, typer.Option(help="AffectNet's test or val.")] = "test",
    flip: Annotated[
        bool, typer.Option(help="Average valence and arousal over the mirror image.")
    ] = True,
    limit: Annotated[int | None, typer.Option(help="Only the first samples.", min=1)] = None,
    batch: Annotated[int, typer.Option(help="Samples run at once.", min=1)] = 8,
    workers: Annotated[int, typer.Option(help="Threads that read pictures.", min=1)] = 2,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Keep a row for each sample there (.csv, .parquet), and go on from it."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for an HTML page.")] = None,
    check: Annotated[
        str | None, typer.Option(help="`published`: exit 3 unless it is the paper's accuracy.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="With --check: how far off, instead of rounding.", min=0)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="`reference` or an artifact: exit 3 if it lost more than it may."),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="With --against: what any metric may lose.", min=0)
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Exit 0 although pictures are missing.")
    ] = False,
    out: Artifacts = Path("artifacts"),
    device: Device = "auto",
    threads: Threads = None,
    json_file: JsonFile = None,
) -> None:
    """Measure accuracy by the paper's protocol, on AffectNet, a table or procedural faces."""
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.evaluation import (
        PROCEDURAL_SAMPLES,
        Options,
        open_data,
        procedural_data,
        run_eval,
    )
    from emonet_deploy.recipes import engines_of, obtain, reference_of, source_of
    from emonet_deploy.runtime.session import load_session

    if check not in {None, "published"}:
        raise InputError(f"--check must be `published`, not {check}")
    if check and data is None:
        raise InputError("--check published needs --data: procedural labels prove nothing")
    if (tolerance is not None and not check) or (max_drop is not None and not against):
        raise InputError("--tolerance goes with --check, and --max-drop with --against")
    made = None
    if artifact is None:
        engines = engines_of(engine)
        made = source_of(checkpoint or "original", nclass or 8, say)
        artifact = obtain(engines[:1], [precision], nclass or 8, made, out, say)[0]
    with ExitStack() as stack:
        load = partial(load_session, device=_device(device), threads=threads)
        session = stack.enter_context(load(artifact))
        classes = session.info.nclass
        identity = made.identity if made else session.info.checkpoint
        if nclass not in {None, classes}:
            raise InputError(f"{artifact} has {classes} classes, not {nclass}; drop --nclass")

        def reference() -> Path:
            if made or session.backend == "torch":
                return made.path if made else artifact
            return reference_of(identity, classes, checkpoint, say).path

        if data is None:
            n = limit or PROCEDURAL_SAMPLES
            dataset = procedural_data(reference(), classes, n, say, progress_bar)
        else:
            dataset = open_data(data, classes, _split(split), limit)
        other = None
        if against is not None:
            path = reference() if against == "reference" else Path(against)
            other = stack.enter_context(load(path))
        options = Options(
            flip=flip,
            batch=batch,
            workers=workers,
            predictions=predictions,
            published=data is not None and data.suffix.lower() != ".csv" and split == "test",
            check=bool(check),
            tolerance=tolerance,
            max_drop=max_drop,
        )
        summary = run_eval(session, artifact, identity, dataset, options, other, progress_bar)
    print_accuracy(summary)
    environment = describe_environment()
    write_json(json_file, {**summary.to_dict(), "environment": environment})
    if report is not None:
        from emonet_deploy.benchmarks.report import write_report

        say(f"report: {write_report(report, summary, environment)}")
    summary.require(str(artifact), allow_missing)


@app.command()
def predict(
    files: Annotated[list[str], typer.Argument(help="Face crops, folders, or - for a list.")],
    model: Annotated[Path | None, typer.Option(help="An artifact; else that of --nclass.")] = None,
    engine: Annotated[str, typer.Option("--engine", "--backend", help="What runs it.")] = "onnx",
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    out: Artifacts = Path("artifacts"),
    batch: Annotated[int, typer.Option(help="Faces run at once.", min=1)] = 8,
    device: Device = "auto",
    threads: Threads = None,
    json_file: JsonFile = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a CSV table.")] = None,
) -> None:
    """Tell the emotion, valence and arousal of face crops."""
    from emonet_deploy.runtime.predictor import Predictor
    from emonet_deploy.runtime.preprocess import read_image
    from emonet_deploy.runtime.session import load_session

    pictures = _pictures(files)
    if model is None:
        from emonet_deploy.recipes import engines_of, obtain, source_of

        engines = engines_of(engine)
        source = source_of(checkpoint, nclass, say)
        model = obtain(engines[:1], ["fp32"], nclass, source, out, say)[0]
    with load_session(model, device=_device(device), threads=threads) as session:
        if session.info.checkpoint.startswith("standin"):
            say("note: the stand-in is untrained, its predictions mean nothing")
        faces = (read_image(path) for path in pictures)
        predictions = Predictor(session, batch).predict(faces)
    rows = [_record(path, p) for path, p in zip(pictures, predictions, strict=True)]
    print_table(
        ("file", "expression", "probability", "valence", "arousal"),
        [
            (r["file"], r["expression"], f"{max(p.probabilities.values()):.2f}",
             f"{p.valence:+.3f}", f"{p.arousal:+.3f}")
            for r, p in zip(rows, predictions, strict=True)
        ],
    )  # fmt: skip
    write_json(json_file, rows)
    write_csv(csv_file, rows)


@app.command()
def doctor(json_file: JsonFile = None) -> None:
    """Tell what runs here, and what to install for the rest."""
    from emonet_deploy.runtime.doctor import examine

    rows = examine()
    print_table(
        ("backend", "to", "ready", "has", "missing, and what to type"),
        [
            (r.backend, r.purpose, "yes" if r.ready else "no",
             ", ".join(r.has) or "-", "; ".join(r.missing) or "-")
            for r in rows
        ],
    )  # fmt: skip
    write_json(json_file, [asdict(row) | {"ready": row.ready} for row in rows])


def main() -> None:
    """Run the command line."""
    app()


# Reading options


def _pictures(names: Sequence[str]) -> list[Path]:
    """Files named, files of folders named, and for ``-`` the files listed on standard input."""
    found: list[Path] = []
    for name in names:
        listed = sys.stdin.read().splitlines() if name == "-" else [name]
        for path in map(Path, filter(None, listed)):
            if not path.is_dir():
                found.append(path)
                continue
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
            if not inside:
                raise InputError(f"no pictures in {path}; expected {', '.join(sorted(_SUFFIXES))}")
            found.extend(inside)
    if not found:
        raise InputError("no pictures named; give files or folders")
    return found


_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def _record(path: Path, prediction: "Prediction") -> dict[str, Any]:
    return {
        "file": str(path),
        "expression": prediction.expression,
        "probabilities": prediction.probabilities,
        "valence": prediction.valence,
        "arousal": prediction.arousal,
        "landmarks": prediction.landmarks.tolist(),
    }


def _device(name: str) -> Any:  # noqa: ANN401 - a Literal, checked here
    if name not in {"auto", "cpu", "cuda"}:
        raise InputError(f"--device must be auto, cpu or cuda, not {name}")
    return name


def _split(name: str) -> Any:  # noqa: ANN401 - a Literal, checked here
    if name not in {"test", "val"}:
        raise InputError(f"--split must be test or val, not {name}")
    return name


def _positive(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise InputError(f"expected whole numbers from 1, not {text!r}")
    return int(text)


if __name__ == "__main__":
    main()
