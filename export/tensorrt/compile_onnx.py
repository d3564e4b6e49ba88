"""The calls that turn an ONNX model into a plan: the same for TensorRT 10.13 to 11 and for RTX.

Nearly every call says None or False where others raise, so each result is checked.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Final

from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.errors import ExportError
from emonet_deploy.export.tensorrt.options import BuildOptions
from emonet_deploy.runtime.backends.tensorrt.library import EngineKind, Library, checked, logger_of
from emonet_deploy.runtime.choices import HardwareCompatibility

__all__ = ["Progress", "build_plan"]

Progress = Callable[[str, int, int], None]
"""Called as (phase, steps done, steps in all), from several threads."""

_HARDWARE: Final[Mapping[HardwareCompatibility, str]] = {
    "none": "NONE",
    "same": "SAME_COMPUTE_CAPABILITY",
    "ampere": "AMPERE_PLUS",
}

_POLL: Final = 0.1  # seconds; Ctrl-C is noticed between two looks at the build


def build_plan(
    trt: Library,
    kind: EngineKind,
    model: bytes,
    options: BuildOptions,
    timing_cache: Path | None = None,
    progress: Progress | None = None,
) -> tuple[bytes, str]:
    """Compile an ONNX model.

    Precision lies in the graph, so the network is strongly typed and no precision flag is set.
    Ctrl-C cancels the build.

    Args:
        trt: the package that builds.
        kind: which package that is.
        model: a serialised ONNX model.
        options: checked ones.
        timing_cache: file of TensorRT's measurements, kept from build to build; None for RTX,
            which makes none.
        progress: told how far the build is.

    Returns:
        The plan, and the builder's dump of its layers.

    Raises:
        ExportError: TensorRT refused the model or failed; the message has its reasons.
    """
    stop = Event()
    # In another thread, because Python handles Ctrl-C in the main thread, outside of C++.
    with ThreadPoolExecutor(1, "tensorrt-build") as pool:
        future = pool.submit(_build, trt, kind, model, options, timing_cache, progress, stop)
        try:
            while not future.done():
                wait([future], _POLL)
        except BaseException:
            stop.set()
            raise
        return future.result()


def _build(
    trt: Library,
    kind: EngineKind,
    model: bytes,
    options: BuildOptions,
    timing_cache: Path | None,
    progress: Progress | None,
    stop: Event,
) -> tuple[bytes, str]:
    logger = logger_of(trt)
    logger.errors.clear()
    logger.layers = ""
    builder = trt.Builder(logger)
    strongly_typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = checked(builder.create_network(strongly_typed), "make a network", trt, ExportError)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        logger.errors.extendleft(reversed(reasons))
        checked(False, "read the model", trt, ExportError)
    config = checked(builder.create_builder_config(), "make a configuration", trt, ExportError)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # On by default, TF32 rounds what the graph keeps in float32 to ten bits of mantissa.
    config.clear_flag(trt.BuilderFlag.TF32)
    config.progress_monitor = _monitor(trt, progress, stop)
    if options.level is not None:
        config.builder_optimization_level = options.level
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatibility != "none":
        level = getattr(trt.HardwareCompatibilityLevel, _HARDWARE[options.hardware_compatibility])
        config.hardware_compatibility_level = level
    _set_profile(trt, builder, network, config, options)
    if kind == "trt-rtx":
        _set_targets(trt, config, options)
    if timing_cache is not None:
        _set_timing_cache(trt, config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    plan = bytes(checked(plan, "build an engine", trt, ExportError))
    if timing_cache is not None:
        # An engine is not lost because the measurements cannot be kept.
        with suppress(ExportError):
            _keep_timing_cache(trt, config, timing_cache)
    return plan, logger.layers


def _set_profile(
    trt: Library,
    builder: Library,
    network: Library,
    config: Library,
    options: BuildOptions,
) -> None:
    profile = checked(builder.create_optimization_profile(), "make a profile", trt, ExportError)
    tensor = checked(network.get_input(0), "find the model's input", trt, ExportError)
    rest = tuple(tensor.shape)[1:]
    profile.set_shape(tensor.name, *((batch, *rest) for batch in options.batches))
    if config.add_optimization_profile(profile) < 0:
        checked(False, "use the batch profile", trt, ExportError)


def _set_targets(trt: Library, config: Library, options: BuildOptions) -> None:
    config.num_compute_capabilities = len(options.sm)
    for index, sm in enumerate(options.sm):
        target = getattr(trt.ComputeCapability, f"SM{sm}")
        checked(config.set_compute_capability(target, index), f"target {sm}", trt, ExportError)


def _set_timing_cache(trt: Library, config: Library, path: Path) -> None:
    """Start from the measurements of earlier builds; from none when these do not fit."""
    kept = b""
    with suppress(OSError):
        kept = path.read_bytes()
    for blob in (kept, b""):
        cache = config.create_timing_cache(blob)
        if cache is not None and config.set_timing_cache(cache, False):
            return
    checked(False, "use a timing cache", trt, ExportError)


def _keep_timing_cache(trt: Library, config: Library, path: Path) -> None:
    cache = checked(config.get_timing_cache(), "give its timing cache", trt, ExportError)
    blob = checked(cache.serialize(), "write its timing cache", trt, ExportError)
    with atomic_write(path, ExportError) as temporary:
        temporary.write_bytes(bytes(blob))


def _monitor(trt: Library, progress: Progress | None, stop: Event) -> Library:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # known at run time only
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            # Anything but True cancels the build.
            return not stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            self._tell(phase_name, self.steps.get(phase_name, 1))

        def _tell(self, phase: str, done: int) -> None:
            if progress is not None:
                progress(phase, done, self.steps.get(phase, 1))

    return Monitor()
