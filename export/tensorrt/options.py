"""How to build an engine, and what to call it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.tensorrt.library import EngineKind
from emonet_deploy.runtime.choices import HardwareCompatibility, Optimize
from emonet_deploy.runtime.hardware.gpu import CudaDevice
from emonet_deploy.runtime.hardware.rtx_targets import RTX_CAPABILITIES

__all__ = ["PROFILES", "RTX_TARGETS", "BuildOptions", "engine_name"]

RTX_TARGETS: Final = tuple(int(capability.replace(".", "")) for capability in RTX_CAPABILITIES)
"""The compute capabilities TensorRT-RTX can be told to build for."""

PROFILES: Final[Mapping[Optimize, tuple[int, int]]] = {"latency": (1, 1), "throughput": (32, 64)}
"""The batch to be fastest at, and the largest, by what an engine is for."""

_HIGHEST_LEVEL: Final = 5


@dataclass(frozen=True)
class BuildOptions:
    """How to build an engine.

    Attributes:
        max_batch: largest batch at once; larger ones are split when the engine runs. By default
            as ``PROFILES`` has it, and no less than the other two.
        opt_batch: the batch to be fastest at; by default as ``PROFILES`` has it, or the largest
            where that is less.
        min_batch: smallest batch.
        sm: compute capabilities to build for, such as 89; TensorRT-RTX only, which otherwise
            builds one engine for 8.0 and all later ones.
        workspace_mib: limit of scratch memory in MiB; by default the GPU's memory.
        level: 0 builds fastest, 5 looks longest for the fastest engine; TensorRT's default is 3.
        optimize: what the engine is for: one face at once, or many.
        hardware_compatibility: TensorRT only: let the engine run on every GPU of its compute
            capability, or on every one from Ampere on, at some cost in speed.
        version_compatible: TensorRT only: let it run on later versions of TensorRT, too.
    """

    max_batch: int | None = None
    opt_batch: int | None = None
    min_batch: int = 1
    sm: tuple[int, ...] = ()
    workspace_mib: int | None = None
    level: int | None = None
    optimize: Optimize = "throughput"
    hardware_compatibility: HardwareCompatibility = "none"
    version_compatible: bool = False

    @property
    def batches(self) -> tuple[int, int, int]:
        """The smallest batch, the one to be fastest at, and the largest."""
        best, high = PROFILES[self.optimize]
        if self.max_batch is not None:
            high = self.max_batch
        else:
            high = max(high, self.opt_batch or 1, self.min_batch)
        best = self.opt_batch if self.opt_batch is not None else min(best, high)
        return self.min_batch, max(best, self.min_batch), high

    def check(self, kind: EngineKind) -> None:
        """Raise ``InputError`` unless the options make sense for a kind of engine."""
        low, best, high = self.batches
        if not 1 <= low <= best <= high:
            raise InputError(
                "batches must be 1 <= smallest <= fastest <= largest, "
                f"not {low}, {best}, {high}; see --min-batch, --opt-batch, --max-batch"
            )
        if self.level is not None and not 0 <= self.level <= _HIGHEST_LEVEL:
            raise InputError(f"the level is 0 to {_HIGHEST_LEVEL}, not {self.level}; see --level")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise InputError(
                f"the workspace is at least 1 MiB, not {self.workspace_mib}; see --workspace"
            )
        if self.sm and kind == "trt":
            raise InputError("TensorRT builds for the GPU of this machine; --sm is for trt-rtx")
        if kind == "trt-rtx" and (self.hardware_compatibility != "none" or self.version_compatible):
            raise InputError(
                "engines of TensorRT-RTX are for many GPUs anyway and for one version; "
                "--hardware-compatibility and --version-compatible are for trt"
            )
        known = ", ".join(map(str, RTX_TARGETS))
        for sm in self.sm:
            if sm not in RTX_TARGETS:
                raise InputError(
                    f"TensorRT-RTX has no target {sm}; --sm takes {known}",
                    hint="other GPUs, such as H100 (90) and Jetson Orin (87), run TensorRT: build "
                    "there with --engine trt",
                )
        if len(set(self.sm)) != len(self.sm):
            raise InputError("--sm names a target twice; name each once")


def engine_name(
    onnx_path: str | os.PathLike[str], options: BuildOptions, gpu: CudaDevice | None
) -> str:
    """Return an engine's file name, such as ``emonet_8.fp16.nvidia-l4.plan``.

    An engine of TensorRT-RTX, which is not for one GPU, is called ``emonet_8.fp16.rtx.plan`` or,
    with its targets, ``emonet_8.fp16.rtx-sm89.plan``. One that is built for one face at once has
    ``latency`` in its name, so that both may lie side by side.
    """
    targets = ["rtx", *(f"sm{sm}" for sm in options.sm)]
    parts = [Path(onnx_path).stem, gpu.slug if gpu is not None else "-".join(targets)]
    if options.optimize == "latency":
        parts.append("latency")
    return ".".join([*parts, "plan"])
