"""``emonet triton``: a model repository for NVIDIA Triton."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from emonet_deploy.commands.console import say, show
from emonet_deploy.emonet_ref.storage.path_access import resolve
from emonet_deploy.runtime.choices import Target

__all__ = ["triton"]


@dataclass(frozen=True)
class Batching:
    """How Triton shall run the model."""

    panel: ClassVar[str] = "Batching and queue"

    instances: Annotated[int, typer.Option(help="Copies of the model, on each GPU.", min=1)] = 1
    max_batch: Annotated[
        int | None, typer.Option(help="Most images at once; else an engine's, or 16.", min=1)
    ] = None
    delay: Annotated[float, typer.Option(help="Milliseconds an image waits for others.", min=0)] = (
        2.0
    )
    queue: Annotated[int, typer.Option(help="Requests that may wait.", min=1)] = 256
    queue_timeout: Annotated[
        int,
        typer.Option(help="Milliseconds after which one that waits is refused; 0: never.", min=0),
    ] = 0


@dataclass(frozen=True)
class Pictures:
    """A second model, for whole pictures."""

    panel: ClassVar[str] = "Whole pictures"

    faces: Annotated[
        bool, typer.Option("--faces", help="Add a model that takes whole pictures.")
    ] = False
    detectors: Annotated[
        int, typer.Option(help="With --faces: pictures searched at once.", min=1)
    ] = 2


def triton(
    artifact: Annotated[Path, typer.Argument(help="ONNX model or TensorRT engine, of --io image.")],
    batching: Batching,
    pictures: Pictures,
    out: Annotated[Path, typer.Option(help="Folder of the repository.")] = Path("models"),
    name: Annotated[str, typer.Option(help="Of the model, in its address.")] = "emonet",
    device: Annotated[Target, typer.Option(help="Where it shall run; cpu: ONNX models.")] = "gpu",
    force: Annotated[bool, typer.Option("--force", help="Replace a model that is there.")] = False,
) -> None:
    """Write a model repository for NVIDIA Triton, and say how to start and to prove it."""
    from emonet_deploy.serving import repository

    options = repository.RepositoryOptions(
        name,
        device,
        batching.instances,
        batching.max_batch,
        batching.delay,
        batching.queue,
        batching.queue_timeout,
        pictures.faces,
        pictures.detectors,
    )
    for folder in repository.write_repository(artifact, out, options, force=force):
        show(folder)
    image = f"nvcr.io/nvidia/tritonserver:{repository.TRITON_RELEASE}-py3"
    if pictures.faces:
        image = "emonet-triton"
        say(
            f"note: {name}{repository.FACES_SUFFIX} needs this toolkit where Triton runs: "
            f"docker build -t {image} -f docs/deploy/triton.Dockerfile ."
        )
    gpus = "--gpus all " if device == "gpu" else ""
    mount = shlex.quote(f"{resolve(out)}:/models:ro")
    say(
        f"start it: docker run --rm {gpus}--shm-size=1g -p 127.0.0.1:8000-8002:8000-8002 "
        f"-v {mount} {image} {' '.join(repository.TRITON_COMMAND)}"
    )
    say(f"prove it: emonet parity http://127.0.0.1:8000/v2/models/{name}")
