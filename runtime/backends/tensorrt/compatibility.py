"""Whether an engine fits this machine, decided from its record before TensorRT sees it.

A plan runs only with the very version, GPU model and profile it was built with, and TensorRT's own
answer to a wrong one is a null pointer and a line of its log.
"""

import re
import shlex
from pathlib import Path

from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.emonet_ref.storage.path_access import is_file
from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.backends.tensorrt.library import PACKAGES, EngineKind
from emonet_deploy.runtime.hardware.gpu import CudaDevice
from emonet_deploy.runtime.hardware.rtx_targets import RTX_CAPABILITIES, rtx_covers
from emonet_deploy.runtime.metadata import EngineInfo, ModelInfo, sidecar_path, tensors_of

__all__ = ["check_engine", "kind_of", "rebuild_command"]

_TURING = "7.5"  # the one target for which TensorRT-RTX has no int8 convolutions
_AMPERE = (8, 0)


def kind_of(engine: EngineInfo) -> EngineKind:
    """Return which kind of engine a record is of."""
    return "trt-rtx" if engine.package == PACKAGES["trt-rtx"].module else "trt"


def check_engine(path: Path, info: ModelInfo, version: str, gpu: CudaDevice | None) -> EngineInfo:
    """Raise unless an engine may be given to TensorRT on this machine.

    Args:
        path: of the engine.
        info: its record.
        version: of the TensorRT package that would run it.
        gpu: that would run it, if any.

    Returns:
        The record's part on the engine.

    Raises:
        ArtifactError: the engine is damaged, of another machine, version or ONNX model, or its
            record is no record of an engine; the message says what differs and how to rebuild.
    """
    engine = _valid(path, info)
    if info.sha256 != sha256_file(path):
        differences = ["the file is damaged or is not the one its record was written for"]
    else:
        differences = _differences(path, info, engine, version, gpu)
    if differences:
        command = rebuild_command(path, info, gpu)
        raise ArtifactError(f"cannot run {path}: {'; '.join(differences)}. Rebuild it: {command}")
    return engine


def rebuild_command(path: Path, info: ModelInfo, gpu: CudaDevice | None) -> str:
    """Return the command that builds an engine once more, so that it runs on this machine.

    Where the GPU is not one TensorRT-RTX runs the model on, that is one of TensorRT.

    Args:
        path: of the engine.
        info: its record, with the part on the engine.
        gpu: that shall run it, if any.

    Raises:
        ArtifactError: the record is none of an engine.
    """
    engine = _valid(path, info)
    options, kind = engine.options, kind_of(engine)
    out = ["--out", str(path)]
    if kind == "trt-rtx" and gpu is not None and not _rtx_runs(info, gpu):
        kind, out = "trt", []  # under the name of another kind it would mislead
    words = ["emonet", "build", str(path.parent / str(options.get("onnx", "MODEL.onnx")))]
    words += ["--engine", kind, "--min-batch", str(engine.min_batch)]
    words += ["--opt-batch", str(engine.opt_batch), "--max-batch", str(engine.max_batch)]
    if kind == "trt-rtx":
        targets = list(engine.compute_capability)
        if gpu is not None and not rtx_covers(targets, gpu.compute_capability):
            targets.append(gpu.compute_capability)
        if targets:
            words += ["--sm", ",".join(target.replace(".", "") for target in targets)]
    for option, name in (
        ("--workspace", "workspace_mib"),
        ("--level", "level"),
        ("--optimize", "optimize"),
    ):
        if options.get(name) is not None:
            words += [option, str(options[name])]
    if options.get("hardware_compatibility", "none") != "none":
        words += ["--hardware-compatibility", str(options["hardware_compatibility"])]
    if options.get("version_compatible"):
        words.append("--version-compatible")
    return shlex.join([*words, *out])


def _rtx_runs(info: ModelInfo, gpu: CudaDevice) -> bool:
    """Whether TensorRT-RTX can be told to build a model for a GPU."""
    lacks_int8 = info.precision == "int8" and gpu.compute_capability == _TURING
    return gpu.compute_capability in RTX_CAPABILITIES and not lacks_int8


def _valid(path: Path, info: ModelInfo) -> EngineInfo:
    engine = info.engine
    fits = (
        engine is not None
        and engine.package in {package.module for package in PACKAGES.values()}
        and all(type(n) is int for n in (engine.min_batch, engine.opt_batch, engine.max_batch))
        and 1 <= engine.min_batch <= engine.opt_batch <= engine.max_batch
        and isinstance(engine.options, dict)
        and all(isinstance(cc, str) for cc in engine.compute_capability)
        and (info.inputs, info.outputs) == tensors_of(info.nclass, info.interface)
    )
    if engine is None or not fits:
        raise ArtifactError(
            f"{sidecar_path(path)} is damaged or no record of an engine; "
            "build the engine again with `emonet build`"
        )
    return engine


def _differences(
    path: Path, info: ModelInfo, engine: EngineInfo, version: str, gpu: CudaDevice | None
) -> list[str]:
    differences = []
    here = _words(gpu.name, gpu.compute_capability) if gpu else "no GPU"
    if not _version_fits(engine, version):
        differences.append(f"built with {engine.package} {engine.version}, here is {version}")
    if kind_of(engine) == "trt":
        if gpu is None or not _gpu_fits(engine, gpu):
            built = _words(engine.gpu, *engine.compute_capability)
            differences.append(f"built on {built}, here is {here}")
    elif gpu is None or not rtx_covers(engine.compute_capability, gpu.compute_capability):
        targets = ", ".join(engine.compute_capability) or "8.0 and later"
        differences.append(f"built for compute capability {targets}, here is {here}")
    parent = path.parent / str(engine.options.get("onnx", ""))
    if is_file(parent) and info.parent_sha256 != sha256_file(parent):
        differences.append(f"{parent.name} has changed since")
    return differences


def _version_fits(engine: EngineInfo, version: str) -> bool:
    """Whether a version runs an engine: its own, or a later one of its major version where allowed.

    Source: TensorRT's documentation, "Version Compatibility".
    """
    if engine.version == version:
        return True
    if not engine.options.get("version_compatible"):
        return False
    built, here = (re.findall(r"\d+", text) for text in (engine.version, version))
    return built[:1] == here[:1] and list(map(int, built)) <= list(map(int, here))


def _gpu_fits(engine: EngineInfo, gpu: CudaDevice) -> bool:
    """Whether a GPU runs an engine of TensorRT.

    Source: TensorRT's documentation, "Hardware Compatibility".
    """
    capability = gpu.compute_capability
    match engine.options.get("hardware_compatibility"):
        case "same":
            return engine.compute_capability == (capability,)
        case "ampere":
            return tuple(map(int, capability.split("."))) >= _AMPERE
        case _:
            return (engine.gpu, *engine.compute_capability) == (gpu.name, capability)


def _words(*parts: str | None) -> str:
    return " ".join(str(part) for part in parts)
