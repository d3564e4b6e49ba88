"""From an ONNX file to an engine with its record beside it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import onnx

from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.storage.cache import cache_dir
from emonet_deploy.emonet_ref.storage.path_access import is_dir, resolve
from emonet_deploy.errors import ArtifactError, EmonetError, ExportError, InputError, one_line
from emonet_deploy.export.passes.gemm_to_conv import TURING, gemm_to_conv
from emonet_deploy.export.tensorrt.compile_onnx import Progress, build_plan
from emonet_deploy.export.tensorrt.inspector import (
    Layer,
    convolutions,
    layers_from_dump,
    layers_from_json,
)
from emonet_deploy.export.tensorrt.options import BuildOptions, engine_name
from emonet_deploy.export.tensorrt.traffic import Traffic, traffic
from emonet_deploy.runtime.backends.registry import SUFFIXES, require_backend
from emonet_deploy.runtime.backends.tensorrt.library import (
    PACKAGES,
    EngineKind,
    Library,
    checked,
    import_tensorrt,
    logger_of,
)
from emonet_deploy.runtime.hardware.gpu import CudaDevice, cuda_device
from emonet_deploy.runtime.metadata import EngineInfo, ModelInfo, read_info, sidecar_path

__all__ = ["Engine", "build_engine"]


@dataclass(frozen=True)
class Engine:
    """A built engine: its file, its record, its layers, how its convolutions run, what it moves."""

    path: Path
    info: ModelInfo
    layers: tuple[Layer, ...]
    convolutions: dict[str, str]
    traffic: Traffic
    """At the batch it is to be fastest at."""


def build_engine(
    onnx_path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    kind: EngineKind = "trt",
    options: BuildOptions | None = None,
    progress: Progress | None = None,
) -> Engine:
    """Compile an ONNX model of this toolkit and write the engine with its record beside it.

    ``trt`` needs the GPU the engine shall run on, ``trt-rtx`` needs none. Ctrl-C cancels the
    build; nothing is written then.

    Args:
        onnx_path: FP32, FP16 or INT8, of either interface, but not one for the CPU.
        out: the engine's file, or a folder; by default beside the model, as ``engine_name``
            calls it.
        kind: ``trt`` or ``trt-rtx``.
        options: see ``BuildOptions``.
        progress: told how far the build is.

    Raises:
        ArtifactError: the ONNX file is missing, damaged or foreign.
        InputError: an option makes no sense, or the model is for another target.
        MissingDependencyError: the package is not installed.
        BackendError: the package cannot be loaded, or ``trt`` without a GPU.
        ExportError: TensorRT refused the model or failed; the message has its reasons.
    """
    options = options or BuildOptions()
    onnx_path = Path(onnx_path)
    options.check(kind)
    info = read_info(onnx_path)
    if info.target != "gpu":
        raise InputError(
            f"{onnx_path} is for the CPU: its uint8 activations saturate in TensorRT; "
            "make a model for the GPU with `emonet export --target gpu`"
        )
    if info.precision == "int8" and TURING in options.sm:
        raise InputError(
            "TensorRT-RTX has no int8 convolutions for compute capability 7.5 and would run all "
            "of them in float32, on the other targets too; leave 75 out of --sm, and build the "
            "fp16 model for it"
        )
    require_backend(kind, "build")
    trt = import_tensorrt(kind)
    gpu = cuda_device() if kind == "trt" else None
    path = _engine_path(onnx_path, out, engine_name(onnx_path, options, gpu))
    measured = _timing_cache(trt, gpu) if gpu is not None else None
    content = onnx_path.read_bytes()
    with _translated():
        compiled = _for_targets(content, options)
        plan, dump = build_plan(trt, kind, compiled, options, measured, progress)
        layers = _layers(trt, kind, plan, dump)
    in_int8 = _conv_nodes(content)
    found = convolutions(layers, list(in_int8))
    _check_int8(kind, found, in_int8)
    low, best, high = options.batches
    moved = traffic(layers, best)
    info = replace(
        info,
        parent_sha256=sha256(content).hexdigest(),
        sha256=sha256(plan).hexdigest(),
        engine=EngineInfo(
            package=PACKAGES[kind].module,
            version=trt.__version__,
            gpu=gpu.name if gpu else None,
            compute_capability=_compute_capability(options, gpu),
            driver=gpu.driver if gpu else None,
            min_batch=low,
            opt_batch=best,
            max_batch=high,
            options={
                "onnx": _relative(onnx_path, path),
                "workspace_mib": options.workspace_mib,
                "level": options.level,
                "optimize": options.optimize,
                "hardware_compatibility": options.hardware_compatibility,
                "version_compatible": options.version_compatible,
                "traffic": asdict(moved),
            },
        ),
        tools={**info.tools, PACKAGES[kind].module: trt.__version__},
    )
    _write(path, plan, info)
    return Engine(path, info, tuple(layers), found, moved)


def _engine_path(onnx_path: Path, out: str | os.PathLike[str] | None, name: str) -> Path:
    if out is None:
        return onnx_path.parent / name
    path = Path(out)
    if is_dir(path):
        return path / name
    if path.suffix.lower() not in SUFFIXES["engine"]:
        raise InputError(
            f"an engine's name ends in {' or '.join(SUFFIXES['engine'])}, not as {path.name}"
        )
    return path


def _timing_cache(trt: Library, gpu: CudaDevice) -> Path:
    """Return where TensorRT's measurements lie: they hold for one version on one GPU."""
    return cache_dir() / "timing" / f"{trt.__name__}-{trt.__version__}-{gpu.slug}.bin"


def _layers(trt: Library, kind: EngineKind, plan: bytes, dump: str) -> list[Layer]:
    if kind == "trt-rtx":
        return layers_from_dump(dump)
    runtime = trt.Runtime(logger_of(trt))
    # It was built here: if it carries a runtime of its own, that is TensorRT's.
    runtime.engine_host_code_allowed = True
    engine = checked(runtime.deserialize_cuda_engine(plan), "load its engine", trt, ExportError)
    inspector = checked(engine.create_engine_inspector(), "inspect its engine", trt, ExportError)
    information = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    # An engine is not lost because a version words its layers in another way.
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        return layers_from_json(information)
    return []


def _compute_capability(options: BuildOptions, gpu: CudaDevice | None) -> tuple[str, ...]:
    if gpu is not None:
        return (gpu.compute_capability,)
    return tuple(f"{sm // 10}.{sm % 10}" for sm in options.sm)


def _for_targets(model: bytes, options: BuildOptions) -> bytes:
    """Return a serialised model as its targets take it."""
    if TURING not in options.sm:
        return model
    proto = onnx.load_from_string(model)
    gemm_to_conv(proto)
    return bytes(proto.SerializeToString())


def _conv_nodes(model: bytes) -> dict[str, bool]:
    """Return the names of a model's convolutions, and whether their weights are in int8."""
    graph = onnx.load_from_string(model).graph
    dequantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    return {n.name: n.input[1] in dequantized for n in graph.node if n.op_type == "Conv"}


def _check_int8(kind: EngineKind, found: Mapping[str, str], in_int8: Mapping[str, bool]) -> None:
    """Raise ``ExportError`` if fewer convolutions run in int8 than the model has.

    TensorRT-RTX 1.7 builds such an engine after a build in the same process that failed.
    """
    accepted = {"int8"} if kind == "trt-rtx" else {"int8", "unknown"}  # not all versions tell
    others = [name for name, wanted in in_int8.items() if wanted and found[name] not in accepted]
    if others:
        raise ExportError(
            f"the engine runs {len(others)} of the model's {sum(in_int8.values())} int8 "
            f"convolutions in {found[others[0]]}, {others[0]} first; build it again in a new "
            "process, or build the fp16 model"
        )


def _relative(onnx_path: Path, engine: Path) -> str:
    """Return where the model lies, seen from the engine: the two often move together."""
    try:
        return os.path.relpath(onnx_path, engine.parent)
    except ValueError:  # another drive
        return str(resolve(onnx_path))


@contextmanager
def _translated() -> Iterator[None]:
    """Say in one line what failed; what the bindings themselves raise has no common base."""
    try:
        yield
    except EmonetError:
        raise
    except Exception as error:
        raise ExportError(f"TensorRT failed: {one_line(error)}") from error


def _write(path: Path, plan: bytes, info: ModelInfo) -> None:
    # Two renames one after the other: what comes between leaves a pair whose hashes differ.
    with (
        atomic_write(sidecar_path(path), ArtifactError) as record,
        atomic_write(path, ArtifactError) as engine,
    ):
        engine.write_bytes(plan)
        record.write_text(info.to_json() + "\n", encoding="utf-8")
