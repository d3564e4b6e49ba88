"""A model repository for NVIDIA Triton: an artifact as it is, and what Triton has to know of it.

Formats: ``model_config.proto`` of Triton's ``common`` repository, in protobuf's text form. Pre- and
postprocessing must be inside the artifact (``image`` interface): an ensemble would only add hops.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emonet_deploy.emonet_ref.constants import CLASS_NAMES, INPUT_SIZE
from emonet_deploy.emonet_ref.storage.path_access import exists
from emonet_deploy.errors import ArtifactError, ExportError, InputError
from emonet_deploy.runtime.backends.registry import artifact_kind
from emonet_deploy.runtime.choices import Target
from emonet_deploy.runtime.metadata import METADATA_KEY, ModelInfo, TensorInfo, read_info

__all__ = [
    "FACES_SUFFIX",
    "TRITON_COMMAND",
    "TRITON_RELEASE",
    "RepositoryOptions",
    "write_repository",
]

TRITON_RELEASE: Final = "26.09"
"""The release of NVIDIA's container the repository is written for: Triton 2.73."""

TRITON_COMMAND: Final = (
    "tritonserver",
    "--model-repository=/models",
    "--model-control-mode=none",
    "--exit-timeout-secs=30",
)
"""How it is started there; the repository is mounted at ``/models``."""

FACES_SUFFIX: Final = "_faces"
"""What the name of the model that takes whole pictures ends with."""

_MAX_BATCH: Final = 16
_TYPES: Final = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}
_FACES_MODEL: Final = '''"""The faces in a picture file, as `emonet serve` answers them."""

from emonet_deploy.serving.triton_faces import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True)
class RepositoryOptions:
    """How Triton shall run the model.

    Attributes:
        name: of the model, in its address.
        device: ``gpu``, or ``cpu`` for ONNX models.
        instances: how often it is loaded, on each GPU.
        max_batch: most images run at once; by default what an engine was built for, else 16.
        delay: milliseconds an image waits for others to fill its batch.
        queue: requests that may wait; those beyond are refused.
        queue_timeout: milliseconds after which a waiting request is refused; 0 is never.
        faces: add a model that takes whole pictures; it needs this toolkit where Triton runs.
        detectors: how many pictures are searched at once, with ``faces``.
    """

    name: str = "emonet"
    device: Target = "gpu"
    instances: int = 1
    max_batch: int | None = None
    delay: float = 2.0
    queue: int = 256
    queue_timeout: int = 0
    faces: bool = False
    detectors: int = 2


def write_repository(
    artifact: Path, out: Path, options: RepositoryOptions, *, force: bool = False
) -> list[Path]:
    """Write the folder of a model, and with ``faces`` a second one; each complete or not at all.

    Args:
        artifact: an ONNX model, or a TensorRT engine, of the ``image`` interface.
        out: the repository; other models in it are left alone.
        options: see there.
        force: replace a model that is there.

    Returns:
        The folders.

    Raises:
        ArtifactError: there is no such artifact, or Triton cannot run it.
        InputError: the name is taken, or an option does not fit the artifact.
        ExportError: the repository cannot be written.
    """
    if not re.fullmatch(r"\w[\w.-]*", options.name, re.ASCII):
        raise InputError(f"a model's name has letters, digits, - and _, unlike {options.name!r}")
    if artifact_kind(artifact) == "checkpoint":
        raise ArtifactError(f"{artifact} is a checkpoint; `emonet export --io image` makes a model")
    info = read_info(artifact)
    most = _checked_max_batch(artifact, info, options)
    folders = [out / options.name]
    if options.faces:
        folders.append(out / f"{options.name}{FACES_SUFFIX}")
    taken = [folder for folder in folders if exists(folder)]
    if taken and not force:
        raise InputError(f"{taken[0]} exists; choose another --name or --out, or add --force")
    with _complete_folder(folders[0]) as folder:
        (folder / "1").mkdir()
        suffix = "plan" if info.engine else "onnx"
        shutil.copyfile(artifact, folder / "1" / f"model.{suffix}")
        (folder / "classes.txt").write_text("\n".join(CLASS_NAMES[info.nclass]) + "\n")
        (folder / "config.pbtxt").write_text(_model_config(info, options, most))
    for faces in folders[1:]:
        with _complete_folder(faces) as folder:
            (folder / "1").mkdir()
            (folder / "1" / "model.py").write_text(_FACES_MODEL)
            (folder / "config.pbtxt").write_text(_faces_config(info, options, most))
    return folders


def _model_config(info: ModelInfo, options: RepositoryOptions, most: int) -> str:
    """Return ``config.pbtxt`` of an artifact."""
    (image,) = info.inputs
    lines = [
        f'name: "{options.name}"',
        'platform: "tensorrt_plan"' if info.engine else 'backend: "onnxruntime"',
        f"max_batch_size: {most}",
        f"input [ {{ {_tensor(image)} }} ]",
        "output [",
        ",\n".join(f"  {{ {_tensor(output)} }}" for output in info.outputs),
        "]",
        "dynamic_batching {",
        f"  max_queue_delay_microseconds: {round(1000 * options.delay)}",
        "  default_queue_policy {",
        "    timeout_action: REJECT",
        f"    default_timeout_microseconds: {1000 * options.queue_timeout}",
        "    allow_timeout_override: true",
        f"    max_queue_size: {options.queue}",
        "  }",
        "}",
        f"instance_group [ {{ kind: KIND_{options.device.upper()} count: {options.instances} }} ]",
        "model_warmup [ {",
        f'  name: "a full batch" batch_size: {most}',
        f'  inputs {{ key: "{image.name}" value {{ data_type: {_TYPES[image.dtype]} '
        f"dims: [ {INPUT_SIZE}, {INPUT_SIZE}, 3 ] zero_data: true }} }}",
        "} ]",
        _parameter(METADATA_KEY, info.to_json()),
    ]
    return "\n".join(lines) + "\n"


def _faces_config(info: ModelInfo, options: RepositoryOptions, most: int) -> str:
    """Return ``config.pbtxt`` of the model that takes whole pictures."""
    lines = [
        f'name: "{options.name}{FACES_SUFFIX}"',
        'backend: "python"',
        "max_batch_size: 0",
        'input [ { name: "picture" data_type: TYPE_STRING dims: [ 1 ] } ]',
        'output [ { name: "faces" data_type: TYPE_STRING dims: [ 1 ] } ]',
        # Faces are searched on the CPU.
        f"instance_group [ {{ kind: KIND_CPU count: {options.detectors} }} ]",
        _parameter("model", options.name),
        _parameter("max_batch", str(most)),
        _parameter(METADATA_KEY, info.to_json()),
    ]
    return "\n".join(lines) + "\n"


def _checked_max_batch(artifact: Path, info: ModelInfo, options: RepositoryOptions) -> int:
    """Return how many images run at once, when it is sure that Triton can run the artifact."""
    if info.interface != "image":
        raise ArtifactError(
            f"{artifact} has the interface {info.interface}: clients would have to process its "
            "inputs and outputs; make it with `emonet export --io image`"
        )
    engine = info.engine
    if engine is None:
        return options.max_batch or _MAX_BATCH
    if engine.package != "tensorrt":
        raise ArtifactError(
            f"{artifact} is an engine of {engine.package}, for which Triton has no backend; "
            "build it with `emonet build --engine trt`, or give the ONNX model"
        )
    if options.device == "cpu":
        raise InputError(f"{artifact} runs on GPUs alone; drop --device cpu or give an ONNX model")
    if engine.min_batch > 1:
        raise ArtifactError(
            f"{artifact} takes no fewer than {engine.min_batch} images, and Triton may have one; "
            "build it with `emonet build --min-batch 1`"
        )
    most = options.max_batch or engine.max_batch
    if most > engine.max_batch:
        raise InputError(f"{artifact} was built for at most {engine.max_batch} images, not {most}")
    return most


def _tensor(tensor: TensorInfo) -> str:
    text = f'name: "{tensor.name}" data_type: {_TYPES[tensor.dtype]} '
    sizes = tensor.shape[1:]
    # Triton has no tensor of rank 0, so a number a face is N x 1 to clients and N to the model.
    shape = ", ".join(map(str, sizes))
    text += f"dims: [ {shape} ]" if sizes else "dims: [ 1 ] reshape: { shape: [ ] }"
    return text + (' label_filename: "classes.txt"' if tensor.name == "probabilities" else "")


def _parameter(key: str, value: str) -> str:
    # Protobuf's text form has the escapes of JSON.
    return f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value)} }} }}'


@contextmanager
def _complete_folder(final: Path) -> Iterator[Path]:
    """Yield a folder beside ``final``; it takes that name when the block succeeds."""
    token = secrets.token_hex(4)
    temporary, old = (final.with_name(f".{final.name}.{token}.{what}") for what in ("tmp", "old"))
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        with suppress(FileNotFoundError):
            os.replace(final, old)
        os.replace(temporary, final)
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise ExportError(
            f"cannot write {final}: {reason}; free some space or name another place"
        ) from failure
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
