"""What ``emonet eval`` is composed of: find the data, run what is judged, judge it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock

from emonet_deploy.benchmarks.accuracy.gates import check_published, compare_runs
from emonet_deploy.benchmarks.accuracy.plausibility import doubts
from emonet_deploy.benchmarks.accuracy.predictions_file import PredictionFile
from emonet_deploy.benchmarks.accuracy.protocol import Evaluation, evaluate
from emonet_deploy.benchmarks.accuracy.summary import Summary
from emonet_deploy.benchmarks.datasets.affectnet_pickle import read_affectnet
from emonet_deploy.benchmarks.datasets.base import Dataset
from emonet_deploy.benchmarks.datasets.load import read_dataset
from emonet_deploy.benchmarks.datasets.procedural import make_procedural
from emonet_deploy.commands.console import ray_progress
from emonet_deploy.commands.eval.options import Gates, Machines, Samples
from emonet_deploy.emonet_ref.constants import PUBLISHED
from emonet_deploy.emonet_ref.storage.atomic_write import require_writable, sha256_file
from emonet_deploy.emonet_ref.storage.cache import CACHE_ADVICE, cache_dir
from emonet_deploy.emonet_ref.storage.path_access import is_dir
from emonet_deploy.errors import DatasetError, InputError
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.choices import Backend

if TYPE_CHECKING:
    from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint

__all__ = ["PROCEDURAL_SAMPLES", "Evaluated", "run_eval"]

PROCEDURAL_SAMPLES: Final = 64

Load = Callable[..., Session]
Say = Callable[[str], None]
Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Shows a labelled progress bar while it is open."""


@dataclass(frozen=True)
class Evaluated:
    """What is judged.

    Attributes:
        artifact: what to run, or the address of a served one.
        backend: what shall run it; None tells it by the file.
        made: the checkpoint it was just made from, where that is known.
        nclass: classes it is expected to have; None if it may decide.
        checkpoint: the reference's name, where the artifact does not say it.
    """

    artifact: str | Path
    backend: Backend | None = None
    made: "Checkpoint | None" = None
    nclass: int | None = None
    checkpoint: str | None = None


def run_eval(
    judged: Evaluated,
    samples: Samples,
    gates: Gates,
    load: Load,
    say: Say,
    bar: Bar,
    machines: Machines | None = None,
) -> Summary:
    """Evaluate an artifact, and another one beside it if asked to.

    Args:
        judged: what to run.
        samples: on what, and how.
        gates: what it must reach.
        load: opens an artifact as a session.
        say: takes a note for the user.
        bar: shows progress.
        machines: where the artifact is run, if not here; what it is compared with is run here.

    Raises:
        EmonetError: of many kinds; what was predicted by then is kept in ``samples.predictions``.
    """
    artifact, made = judged.artifact, judged.made
    with ExitStack() as stack:
        session = stack.enter_context(load(artifact, judged.backend))
        if judged.nclass not in {None, session.info.nclass}:
            raise InputError(
                f"{artifact} has {session.info.nclass} classes, not {judged.nclass}",
                hint="drop --nclass",
            )
        nclass = session.info.nclass
        identity = made.identity if made else session.info.checkpoint

        def reference() -> Path:
            if made or session.backend == "torch":
                return made.path if made else Path(artifact)
            # Needs PyTorch, which an evaluation of an ONNX file on AffectNet does not.
            from emonet_deploy.commands.prepare_artifacts import resolve_reference

            return resolve_reference(identity, nclass, judged.checkpoint, say).path

        if samples.data is None:
            dataset = _procedural(reference(), nclass, samples.limit, load, say, bar)
        else:
            dataset = read_dataset(samples.data, nclass, samples.split, samples.form)
            for reason, count in dataset.left_out.items():
                say(f"left out: {count} {reason}")
            dataset = dataset.first(samples.limit) if samples.limit else dataset
        kept = None
        settings = {
            "artifact": artifact if session.backend == "v2" else sha256_file(artifact),
            "backend": session.backend,
            "provider": session.provider,
            "flip": samples.flip,
        }
        if samples.predictions is not None:
            kept = PredictionFile(samples.predictions, dataset, settings)
        other = None
        if gates.against is not None:
            against = reference() if gates.against == "reference" else gates.against
            other = stack.enter_context(load(against, None))

        if machines is None:
            run = _run(session, dataset, samples, bar, kept)
        else:
            run = _run_on(machines, judged, load, dataset, samples, settings)
        for doubt in doubts(run):
            say(f"note: {doubt}")
        if gates.check and not dataset.is_published:
            say(f"note: {dataset.name} is not the AffectNet that the published figures are of")
        comparable = gates.check or dataset.is_published
        published = PUBLISHED[nclass] if comparable else None
        summary = Summary.of(run, session, identity, published)
        if gates.check and published:
            verdicts = check_published(summary.accuracy, published, gates.tolerance)
            summary = replace(summary, check=verdicts)
        if other is not None:
            beside = _run(other, dataset, samples, bar)
            found = compare_runs(beside, run, session.info.precision, gates.max_drop)
            summary = replace(summary, against=found)
    return summary


def _procedural(
    checkpoint: Path, nclass: int, limit: int | None, load: Load, say: Say, bar: Bar
) -> Dataset:
    """Return drawn faces, labelled around a checkpoint's outputs; made once, then cached."""
    n = limit or PROCEDURAL_SAMPLES
    root = cache_dir() / f"procedural_{nclass}_{sha256_file(checkpoint)[:16]}_{n}"
    if not is_dir(root):
        require_writable(root, DatasetError, CACHE_ADVICE)
        # One process draws, others wait for it.
        with FileLock(root.with_name(f"{root.name}.lock")):
            if not is_dir(root):
                say(f"drawing {n} faces, and labels around the reference's outputs; once")
                with load(checkpoint, None) as reference, bar("drawing") as progress:
                    make_procedural(root, reference, n, progress=progress, advice=CACHE_ADVICE)
    say("note: the labels were drawn so that the reference scores about what the paper prints")
    return replace(
        read_affectnet(root, nclass), name="procedural faces", left_out={}, is_published=False
    )


def _run_on(
    machines: Machines,
    judged: Evaluated,
    load: Load,
    dataset: Dataset,
    samples: Samples,
    settings: dict[str, Any],
) -> Evaluation:
    # Needs Ray, which an evaluation on one machine does not.
    from emonet_deploy.batch.files.filesystems import absolute
    from emonet_deploy.commands.eval.over_machines import Judge, evaluate_on

    model = absolute(str(judged.artifact))
    here = replace(dataset, pictures=dataset.pictures.absolute())
    judge = Judge(model, partial(load, backend=judged.backend), here, samples.flip, samples.batch)
    artifact = f"sha256:{settings.pop('artifact')}" if "://" not in model else model
    with ray_progress("batches") as progress:
        return evaluate_on(machines, judge, settings | {"model": artifact}, progress)


def _run(
    session: Session,
    dataset: Dataset,
    samples: Samples,
    bar: Bar,
    predictions: PredictionFile | None = None,
) -> Evaluation:
    with bar(f"{session.backend} {session.info.precision}") as progress:
        return evaluate(
            session,
            dataset,
            flip=samples.flip,
            batch=samples.batch,
            workers=samples.workers,
            predictions=predictions,
            progress=progress,
        )
