"""What every artifact says about itself: where it came from, what it takes, what it gives.

An ONNX model carries its record in ``metadata_props``; an engine has it beside it, in
``<engine>.json``.
"""

import json
import os
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Final, get_args

from emonet_deploy import __version__
from emonet_deploy.emonet_ref.constants import (
    CLASS_NAMES,
    HEATMAP_SIZE,
    IMAGE_OUTPUTS,
    INPUT_NAME,
    INPUT_SIZE,
    NUM_LANDMARKS,
    TENSOR_OUTPUTS,
)
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write, sha256_file
from emonet_deploy.emonet_ref.storage.bounded_json import parse_json
from emonet_deploy.emonet_ref.storage.path_access import (
    is_file,
    read_text,
    why,
)
from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.choices import (
    Interface,
    Precision,
    Target,
)
from emonet_deploy.runtime.onnx_scan import scan_onnx

__all__ = [
    "METADATA_KEY",
    "EngineInfo",
    "ModelInfo",
    "TensorInfo",
    "artifact_name",
    "parse_info",
    "read_info",
    "sidecar_path",
    "tensors_of",
    "write_info",
]

METADATA_KEY: Final = "emonet_deploy"
"""The key in an ONNX file's ``metadata_props`` under which the record lies, as JSON."""

_MAX_RECORD: Final = 4 << 20
_MAX_BATCH: Final = 1 << 16
_IDENTITY: Final = r"original|standin(:[a-z0-9.-]{1,32}){0,4}|sha256:[0-9a-f]{64}"
_SHA256: Final = r"[0-9a-f]{64}"
_COMPUTE_CAPABILITY: Final = r"[0-9]{1,3}\.[0-9]{1,3}"


@dataclass(frozen=True)
class TensorInfo:
    """One input or output; ``None`` in the shape is the batch."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class EngineInfo:
    """What a TensorRT engine was built with and for; it runs nowhere else."""

    package: str
    version: str
    gpu: str | None
    compute_capability: tuple[str, ...]
    driver: str | None
    min_batch: int
    opt_batch: int
    max_batch: int
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelInfo:
    """The record of one artifact.

    Attributes:
        nclass: number of emotion classes, 5 or 8.
        precision: of the convolutions.
        target: the kind of machine the graph was written for.
        interface: ``tensor`` is the network proper, ``image`` has pre- and postprocessing inside.
        checkpoint: ``original``, ``standin`` (with ``:SEED`` unless it is 0) or ``sha256:...``.
        parent_sha256: of the file this one was made from, where that is a file.
        sha256: of the artifact itself, where the record lies beside it.
        calibration: how an INT8 artifact was calibrated and which layers stayed in float.
        rewrites: how a graph for CPUs was rewritten; None of others, and of older ones.
        parity: which gates it passed when it was made, and on which faces; None if never judged.
        tools: name and version of each tool that took part.
    """

    nclass: int
    checkpoint: str
    precision: Precision = "fp32"
    target: Target = "gpu"
    interface: Interface = "tensor"
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    parent_sha256: str | None = None
    sha256: str | None = None
    calibration: dict[str, Any] | None = None
    rewrites: dict[str, Any] | None = None
    parity: dict[str, Any] | None = None
    engine: EngineInfo | None = None
    tools: dict[str, str] = field(default_factory=dict)
    toolkit: str = __version__

    def to_json(self) -> str:
        """Return the record as JSON with sorted keys: equal records are equal strings."""
        return json.dumps(asdict(self), sort_keys=True)


def tensors_of(
    nclass: int, interface: Interface
) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Return the inputs and the outputs that the contract sets for an interface."""
    if interface == "image":
        shapes: dict[str, tuple[int | None, ...]] = {
            "probabilities": (None, nclass),
            "valence": (None,),
            "arousal": (None,),
            "landmarks": (None, NUM_LANDMARKS, 3),
        }
        image = TensorInfo(INPUT_NAME, "uint8", (None, INPUT_SIZE, INPUT_SIZE, 3))
        names = IMAGE_OUTPUTS
    else:
        shapes = {
            "heatmap": (None, NUM_LANDMARKS, HEATMAP_SIZE, HEATMAP_SIZE),
            "expression": (None, nclass),
            "valence": (None,),
            "arousal": (None,),
        }
        image = TensorInfo(INPUT_NAME, "float32", (None, 3, INPUT_SIZE, INPUT_SIZE))
        names = TENSOR_OUTPUTS
    return (image,), tuple(TensorInfo(name, "float32", shapes[name]) for name in names)


def artifact_name(
    nclass: int, precision: Precision, target: Target = "gpu", interface: Interface = "tensor"
) -> str:
    """Return an ONNX file's name, such as ``emonet_8.fp32.onnx`` or ``emonet_8.int8.cpu.onnx``."""
    parts = [f"emonet_{nclass}", precision]
    if interface == "image":
        parts.append("image")
    if target == "cpu":
        parts.append("cpu")
    return ".".join([*parts, "onnx"])


def sidecar_path(engine: str | os.PathLike[str]) -> Path:
    """Return where the record of an engine lies: ``<engine>.json``."""
    return Path(f"{os.fspath(engine)}.json")


def parse_info(text: str, source: str | os.PathLike[str]) -> ModelInfo:
    """Return the record written as JSON in ``text``, checked against the contract.

    Raises:
        ArtifactError: the text is not such a record; ``source`` names its file in the message.
    """
    try:
        raw = parse_json(text)
        engine = raw.pop("engine", None)
        if engine is not None:
            engine["compute_capability"] = tuple(engine["compute_capability"])
            engine = EngineInfo(**engine)
        for key in ("inputs", "outputs"):
            raw[key] = tuple(TensorInfo(t["name"], t["dtype"], tuple(t["shape"])) for t in raw[key])
        info = ModelInfo(**raw, engine=engine)
        whole = _is_whole(info) and (engine is None or _is_whole_engine(engine))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(source) from error
    if not whole:
        raise _damaged(source)
    return info


def read_info(path: str | os.PathLike[str]) -> ModelInfo:
    """Read the record of an ONNX model or an engine; weights are not read.

    Raises:
        ArtifactError: no such file, not an artifact of this toolkit, or a damaged record.

    Example:
        >>> info = read_info("artifacts/emonet_8.fp32.onnx")
        >>> info.nclass, info.precision, info.inputs[0].shape
        (8, 'fp32', (None, 3, 256, 256))
    """
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        return _info_of_onnx(path)
    if not is_file(path):
        raise ArtifactError(
            f"no artifact at {path}", hint="`emonet build` makes one of an ONNX model"
        )
    sidecar = sidecar_path(path)
    try:
        text = read_text(sidecar, _MAX_RECORD)
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} has no record {sidecar.name} beside it; keep the two together, "
            "or make it again with `emonet build`"
        ) from error
    except OSError as error:
        raise ArtifactError(
            f"cannot read {sidecar}, the record of {path.name}: {why(error)}",
            hint="make it again with `emonet build`",
        ) from error
    return parse_info(text, sidecar)


def write_info(path: str | os.PathLike[str], info: ModelInfo) -> None:
    """Write the record of an artifact: into an ONNX file, or beside an engine.

    Raises:
        ArtifactError: the file cannot be read or written.
    """
    if Path(path).suffix.lower() != ".onnx":
        try:
            info = replace(info, sha256=sha256_file(path))
        except OSError as error:
            raise ArtifactError(f"cannot read {os.fspath(path)}: {why(error)}") from error
        with atomic_write(sidecar_path(path), ArtifactError) as temporary:
            temporary.write_text(info.to_json() + "\n", encoding="utf-8")
        return
    import onnx

    model = _load_onnx(Path(path))
    onnx.helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    with atomic_write(path, ArtifactError) as temporary:
        onnx.save(model, temporary)


def _info_of_onnx(path: Path) -> ModelInfo:
    found = scan_onnx(path)
    record = found.metadata.get(METADATA_KEY)
    if record is None:
        raise ArtifactError(
            f"{path} was not made by this toolkit", hint="make one with `emonet export`"
        )
    if found.external:
        raise ArtifactError(
            f"{path} keeps weights in other files, which no model of this toolkit does",
            hint="make it again with `emonet export`",
        )
    if len(record) > _MAX_RECORD:
        raise _damaged(path)
    return parse_info(record, path)


def _is_whole(info: ModelInfo) -> bool:
    """Tell whether a record has the types its fields are declared with, and fits the contract."""
    return (
        type(info.nclass) is int
        and info.nclass in CLASS_NAMES
        and info.precision in get_args(Precision)
        and info.target in get_args(Target)
        and info.interface in get_args(Interface)
        and (info.inputs, info.outputs) == tensors_of(info.nclass, info.interface)
        and _fits(_IDENTITY, info.checkpoint)
        and all(x is None or _fits(_SHA256, x) for x in (info.sha256, info.parent_sha256))
        and isinstance(info.calibration, dict | None)
        and isinstance(info.rewrites, dict | None)
        and isinstance(info.parity, dict | None)
        and isinstance(info.tools, dict)
        and all(isinstance(version, str) for version in info.tools.values())
        and isinstance(info.toolkit, str)
    )


def _is_whole_engine(engine: EngineInfo) -> bool:
    batches = (engine.min_batch, engine.opt_batch, engine.max_batch)
    model = engine.options.get("onnx", "") if isinstance(engine.options, dict) else None
    return (
        isinstance(engine.package, str)
        and isinstance(engine.version, str)
        and isinstance(engine.gpu, str | None)
        and isinstance(engine.driver, str | None)
        and all(_fits(_COMPUTE_CAPABILITY, x) for x in engine.compute_capability)
        and all(type(n) is int for n in batches)
        and 1 <= engine.min_batch <= engine.opt_batch <= engine.max_batch <= _MAX_BATCH
        and isinstance(model, str)
        and not PurePath(model).is_absolute()
    )


def _fits(pattern: str, text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(pattern, text) is not None


def _load_onnx(path: Path) -> Any:  # noqa: ANN401 - onnx.ModelProto, imported only when needed
    import onnx
    from google.protobuf.message import DecodeError

    if scan_onnx(path).external:
        raise ArtifactError(f"{path} keeps weights in other files", hint="save it as one file")
    try:
        return onnx.load(path)
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ArtifactError(
            f"{path} is damaged or not an ONNX file; make it again with `emonet export`"
        ) from error


def _damaged(path: str | os.PathLike[str]) -> ArtifactError:
    return ArtifactError(
        f"the record in {os.fspath(path)} is damaged or of another version; make the artifact again"
    )
