"""``emonet serve``: pictures in, faces with emotions out, over HTTP."""

import os
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import typer

from emonet_deploy.commands.console import say, warn
from emonet_deploy.commands.options import DetectedFaces, Model, engine_of
from emonet_deploy.commands.process.exit_codes import ExitCode
from emonet_deploy.commands.process.streams import hear_libraries

__all__ = ["serve"]


@dataclass(frozen=True)
class Address:
    """Where it listens, and what it lets in."""

    panel: ClassVar[str] = "Address and limits"

    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 is every one of this machine.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 8000
    queue: Annotated[
        int, typer.Option(help="Requests that may wait; those beyond get 429.", min=1)
    ] = 64
    timeout: Annotated[
        float, typer.Option(help="Seconds after which a request gets 408.", min=0.1)
    ] = 30.0
    max_bytes: Annotated[int, typer.Option(help="Largest body; a larger one gets 413.", min=1)] = (
        32 * 2**20
    )
    access_log: Annotated[
        bool, typer.Option("--access-log/--no-access-log", help="A line of JSON per request.")
    ] = True


@dataclass(frozen=True)
class Workers:
    """How the work is shared out."""

    panel: ClassVar[str] = "Processes"

    readers: Annotated[
        int, typer.Option(help="That hold the model; with one, its death ends all.", min=1, max=256)
    ] = 2
    finders: Annotated[
        int | None,
        typer.Option(help="That find faces; else one for two processors.", min=1, max=256),
    ] = None
    batch: Annotated[int, typer.Option(help="Faces a reader runs at once.", min=1, max=4096)] = 8
    wait: Annotated[
        int | None,
        typer.Option(
            help="Milliseconds a face waits for others to fill its batch; else a tenth of what one "
            "takes, 5 at least.",
            min=1,
        ),
    ] = None


def serve(model: Model, faces: DetectedFaces, address: Address, workers: Workers) -> None:
    """Serve EmoNet over HTTP on this machine: POST a picture to /v1/faces.

    Ends with code 0 after SIGTERM or Ctrl-C, when what is in flight is answered, and with 1 when it
    ends by itself, so that whatever supervises it starts it again. --threads is for each reader; by
    default the readers share the processors.
    """
    # Read when OpenCV is loaded, here and by the workers: what goes wrong is said by us, once.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    hear_libraries()  # the workers log there
    from emonet_deploy.runtime.hardware.cpu import usable_processors
    from emonet_deploy.serving import server
    from emonet_deploy.serving.worker_settings import FACES_ROUTE, Settings

    artifact, backend = model.model, engine_of(model.engine, model.device)
    if artifact is None:
        from emonet_deploy.commands.prepare_artifacts import obtain_one, resolve_checkpoint

        source = resolve_checkpoint(model.checkpoint, model.nclass, say)
        # How many threads each reader has is decided below: they share the processors.
        wanted = replace(model.wanted(), threads=None)
        path, backend, _ = obtain_one(backend, wanted, model.nclass, source, model.out, say)
        artifact = str(path)
    processors = usable_processors()
    threads = model.threads or max(1, processors // workers.readers)
    settings = Settings(
        artifact,
        backend,
        model.device,
        threads,
        batch=max(workers.batch, threads),
        detector=faces.detector,
        detector_model=None if faces.detector_model is None else str(faces.detector_model),
        detect_size=faces.detect_size,
        min_score=faces.min_score,
        crop=faces.crop,
        access_log=address.access_log,
    )
    trial = server.try_settings(settings)
    options = server.ServerOptions(
        address.host,
        address.port,
        finders=workers.finders or max(2, processors // 2),
        readers=workers.readers,
        wait=workers.wait or trial.wait,
        queue=address.queue,
        timeout=address.timeout,
        max_bytes=address.max_bytes,
    )
    if trial.info.checkpoint.startswith("standin"):
        say("note: the stand-in is untrained, its predictions mean nothing")
    if workers.readers == 1:
        say("note: with one reader the server ends when that dies; --readers 2 replaces it")

    def starting() -> None:
        say(
            f"serving {artifact} at http://{address.host}:{address.port}, {workers.readers} "
            f"readers of {threads} threads; Ctrl-C ends it"
        )

    def ready() -> None:
        say(f"ready: POST pictures to http://{address.host}:{address.port}{FACES_ROUTE}")

    if not server.serve(settings, options, starting, ready):
        warn("error: the server ended by itself; its log above says why")
        raise typer.Exit(ExitCode.ERROR)
