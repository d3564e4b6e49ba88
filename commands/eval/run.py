"""What ``emonet eval`` is composed of: find the data, run what is judged, judge it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from emonet_deploy.benchmarks.accuracy.predictions_file import PredictionFile
from emonet_deploy.benchmarks.accuracy.protocol import Evaluation, evaluate
from emonet_deploy.benchmarks.accuracy.summary import Summary
from emonet_deploy.benchmarks.datasets.affectnet import read_affectnet
from emonet_deploy.benchmarks.datasets.base import Dataset
from emonet_deploy.benchmarks.datasets.csv_table import read_table
from emonet_deploy.benchmarks.datasets.procedural import make_procedural
from emonet_deploy.benchmarks.gates import check_published, compare_runs
from emonet_deploy.emonet_ref.constants import PUBLISHED
from emonet_deploy.emonet_ref.storage.cache import cache_dir
from emonet_deploy.emonet_ref.storage.files import sha256_file
from emonet_deploy.errors import DatasetError, InputError
from emonet_deploy.runtime.backends.base import Session
from emonet_deploy.runtime.types import Backend

if TYPE_CHECKING:
    from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint

__all__ = ["PROCEDURAL_SAMPLES", "Options", "run_eval"]

PROCEDURAL_SAMPLES: Final = 64

Load = Callable[[Path, Backend | None], Session]
Say = Callable[[str], None]
Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Shows a labelled progress bar while it is open."""


@dataclass(frozen=True)
class Options:
    """What an evaluation runs on, how, and what it must reach.

    Attributes:
        data: AffectNet's root or a CSV table; None for procedural faces.
        split: of AffectNet: ``test`` or ``val``.
        limit: only so many samples, the first ones.
        flip: test-time flip.
        batch: samples run at once.
        workers: threads that read pictures.
        predictions: file the rows are kept in, and continued from.
        check: ``published`` gates against the paper's figures.
        tolerance: for that gate, instead of rounding.
        against: ``reference`` or an artifact, to be compared with sample by sample.
        max_drop: for that gate; by default that of the precision.
        checkpoint: the reference's name, where the artifact does not say it.
    """

    data: Path | None = None
    split: str = "test"
    limit: int | None = None
    flip: bool = True
    batch: int = 8
    workers: int = 4
    predictions: Path | None = None
    check: str | None = None
    tolerance: float | None = None
    against: str | None = None
    max_drop: float | None = None
    checkpoint: str | None = None

    @property
    def shows_published(self) -> bool:
        """Whether the data are those the published figures were measured on."""
        table = self.data is not None and self.data.suffix.lower() == ".csv"
        return self.data is not None and not table and self.split == "test"

    def __post_init__(self) -> None:
        if self.check not in {None, "published"}:
            raise InputError(f"--check must be `published`, not {self.check}")
        if self.check and self.data is None:
            raise InputError("--check published needs --data: procedural labels prove nothing")
        if self.tolerance is not None and not self.check:
            raise InputError("--tolerance goes with --check published")
        if self.max_drop is not None and not self.against:
            raise InputError("--max-drop goes with --against")


def run_eval(
    artifact: Path,
    backend: Backend | None,
    made: "Checkpoint | None",
    nclass: int | None,
    options: Options,
    load: Load,
    say: Say,
    bar: Bar,
) -> Summary:
    """Evaluate an artifact, and another one beside it if asked to.

    Args:
        artifact: what to run.
        backend: what shall run it; None tells it by the file.
        made: the checkpoint it was just made from, where that is known.
        nclass: classes it is expected to have; None if it may decide.
        options: on what, and how.
        load: opens an artifact as a session.
        say: takes a note for the user.
        bar: shows progress.

    Raises:
        EmonetError: of many kinds; what was predicted by then is kept in ``options.predictions``.
    """
    with ExitStack() as stack:
        session = stack.enter_context(load(artifact, backend))
        if nclass not in {None, session.info.nclass}:
            raise InputError(
                f"{artifact} has {session.info.nclass} classes, not {nclass}; drop --nclass"
            )
        nclass = session.info.nclass
        identity = made.identity if made else session.info.checkpoint

        def reference() -> Path:
            if made or session.backend == "torch":
                return made.path if made else artifact
            # Needs PyTorch, which an evaluation of an ONNX file on AffectNet does not.
            from emonet_deploy.commands.artifacts import reference_of

            return reference_of(identity, nclass, options.checkpoint, say).path

        if options.data is None:
            dataset = _procedural(reference(), nclass, options.limit, load, say, bar)
        else:
            dataset = _read(options.data, nclass, options)
        kept = None
        if options.predictions is not None:
            settings = {
                "artifact": sha256_file(artifact),
                "backend": session.backend,
                "provider": session.provider,
                "flip": options.flip,
            }
            kept = PredictionFile(options.predictions, dataset, settings)
        other = None
        if options.against is not None:
            path = reference() if options.against == "reference" else Path(options.against)
            other = stack.enter_context(load(path, None))

        run = _run(session, dataset, options, bar, kept)
        comparable = options.check or options.shows_published
        published = PUBLISHED[nclass] if comparable else None
        summary = Summary.of(run, session, identity, published)
        if options.check and published:
            verdicts = check_published(summary.accuracy, published, options.tolerance)
            summary = replace(summary, check=verdicts)
        if other is not None:
            beside = _run(other, dataset, options, bar)
            found = compare_runs(beside, run, session.info.precision, options.max_drop)
            summary = replace(summary, against=found)
    return summary


def _read(data: Path, nclass: int, options: Options) -> Dataset:
    if data.suffix.lower() == ".csv":
        dataset = read_table(data, nclass)
    elif options.split in {"test", "val"}:
        dataset = read_affectnet(data, nclass, "test" if options.split == "test" else "val")
    else:
        raise InputError(f"--split must be test or val, not {options.split}")
    return dataset.first(options.limit) if options.limit else dataset


def _procedural(
    checkpoint: Path, nclass: int, limit: int | None, load: Load, say: Say, bar: Bar
) -> Dataset:
    """Return drawn faces, labelled around a checkpoint's outputs; made once, then cached."""
    n = limit or PROCEDURAL_SAMPLES
    root = cache_dir() / f"procedural_{nclass}_{sha256_file(checkpoint)[:16]}_{n}"
    if not root.exists():
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            # One process draws, others wait for it.
            with FileLock(root.with_name(f"{root.name}.lock")):
                if not root.exists():
                    say(f"drawing {n} faces, and labels around the reference's outputs; once")
                    with load(checkpoint, None) as reference, bar("drawing") as progress:
                        make_procedural(root, reference, n, progress=progress)
        except OSError as error:
            raise DatasetError(
                f"cannot write {root.parent}: {error.strerror}; name another place in EMONET_HOME"
            ) from error
    say("note: the labels were drawn so that the reference scores about what the paper prints")
    return replace(read_affectnet(root, nclass), name="procedural faces")


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
