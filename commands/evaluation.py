"""What ``emonet eval`` is composed of: find the data, run what is judged, judge it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from emonet_deploy.benchmarks.affectnet import Split, read_affectnet
from emonet_deploy.benchmarks.dataset import Dataset
from emonet_deploy.benchmarks.evaluate import Evaluation, evaluate
from emonet_deploy.benchmarks.gates import check_published, compare_runs
from emonet_deploy.benchmarks.predictions import PredictionFile
from emonet_deploy.benchmarks.procedural import make_procedural
from emonet_deploy.benchmarks.summary import Summary
from emonet_deploy.benchmarks.table import read_table
from emonet_deploy.emonet_ref.cache import cache_dir
from emonet_deploy.emonet_ref.contract import PUBLISHED
from emonet_deploy.emonet_ref.files import sha256_file
from emonet_deploy.runtime.session import Session, load_session

__all__ = ["PROCEDURAL_SAMPLES", "Options", "open_data", "procedural_data", "run_eval"]

PROCEDURAL_SAMPLES: Final = 64

Progress = Callable[[int, int], None]
Bar = Callable[[str], AbstractContextManager[Progress]]
"""Shows a labelled progress bar while it is open."""


@dataclass(frozen=True)
class Options:
    """How an evaluation runs.

    Attributes:
        flip: test-time flip.
        batch: samples run at once.
        workers: threads that read pictures.
        predictions: file the rows are kept in, and continued from.
        published: whether the data set is the one the published figures are of.
        check: whether to gate against them.
        tolerance: for that gate, instead of rounding.
        max_drop: for the gate against the reference; by default that of the precision.
    """

    flip: bool = True
    batch: int = 8
    workers: int = 2
    predictions: Path | None = None
    published: bool = False
    check: bool = False
    tolerance: float | None = None
    max_drop: float | None = None


def open_data(data: Path, nclass: int, split: Split, limit: int | None) -> Dataset:
    """Read a CSV table or AffectNet's root; ``limit`` keeps the first samples.

    Raises:
        DatasetError: it is neither, or holds something impossible.
    """
    table = data.suffix.lower() == ".csv"
    dataset = read_table(data, nclass) if table else read_affectnet(data, nclass, split)
    return dataset.first(limit) if limit else dataset


def procedural_data(
    checkpoint: Path, nclass: int, n: int, say: Callable[[str], None], bar: Bar
) -> Dataset:
    """Return drawn faces with labels drawn around a checkpoint's outputs; made once, then cached.

    Raises:
        DatasetError: they could not be made.
        CheckpointError: the checkpoint cannot be used.
    """
    root = cache_dir() / f"procedural_{nclass}_{sha256_file(checkpoint)[:16]}_{n}"
    if not root.exists():
        say(f"drawing {n} faces, and labels around the reference's outputs; once")
        with load_session(checkpoint) as reference, bar("drawing") as progress:
            make_procedural(root, reference, n, progress=progress)
    say("note: the labels were drawn so that the reference scores about what the paper prints")
    return replace(read_affectnet(root, nclass), name="procedural faces")


def run_eval(
    session: Session,
    artifact: Path,
    checkpoint: str,
    dataset: Dataset,
    options: Options,
    against: Session | None,
    bar: Bar,
) -> Summary:
    """Evaluate an artifact, and another one beside it if asked to.

    Args:
        session: of the artifact.
        artifact: its file.
        checkpoint: identity of the weights it was made from.
        dataset: what to predict.
        options: how.
        against: what it is compared with, sample by sample.
        bar: shows progress.
    """
    kept = None
    if options.predictions is not None:
        settings = {
            "artifact": sha256_file(artifact),
            "backend": session.backend,
            "provider": session.provider,
            "flip": options.flip,
        }
        kept = PredictionFile(options.predictions, dataset, settings)
    run = _run(session, dataset, options, bar, kept)
    published = PUBLISHED[dataset.nclass] if options.published or options.check else None
    summary = Summary.of(run, session, checkpoint, published=published)
    if options.check:
        assert published is not None
        verdicts = check_published(summary.accuracy, published, options.tolerance)
        summary = replace(summary, check=verdicts)
    if against is not None:
        reference = _run(against, dataset, options, bar)
        found = compare_runs(reference, run, session.info.precision, options.max_drop)
        summary = replace(summary, against=found)
    return summary


def _run(
    session: Session,
    dataset: Dataset,
    options: Options,
    bar: Bar,
    predictions: PredictionFile | None = None,
) -> Evaluation:
    with bar(f"{session.backend} {session.info.precision}") as progress:
        return evaluate(
            session,
            dataset,
            flip=options.flip,
            batch=options.batch,
            workers=options.workers,
            predictions=predictions,
            progress=progress,
        )
