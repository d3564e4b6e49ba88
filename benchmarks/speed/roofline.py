"""What the network's operations and bytes allow on GPUs: computed, not measured.

Each layer takes at least as long as its multiply-accumulates at the device's peak, and as its
bytes at the memory's bandwidth; the longer of the two counts (Williams, Waterman and Patterson,
"Roofline", 2009), and launching it takes a moment at batch 1. Run as
``python -m emonet_deploy.benchmarks.speed.roofline MODEL.onnx``; prints ``docs/gpu-roofline.md``.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emonet_deploy.benchmarks.speed.count_operations import LayerCost, count_operations, total_macs
from emonet_deploy.emonet_ref.constants import INPUT_SIZE, NUM_LANDMARKS
from emonet_deploy.runtime.choices import Precision
from emonet_deploy.runtime.output.text_table import Table, as_markdown

__all__ = ["DEVICES", "Device", "Estimate", "estimate", "fuse", "report"]


@dataclass(frozen=True)
class Device:
    """Peaks from the maker's data sheet, dense, without sparsity; boost clocks.

    Attributes:
        name: as sold.
        tflops: multiply-adds count as two; float32 on the ordinary units where the device has no
            TF32, on the tensor cores where it has.
        bandwidth: of its memory, GB/s.
        link: from and to the host, GB/s; None where both share one memory.
    """

    name: str
    tflops: dict[Precision, float]
    bandwidth: float
    link: float | None


DEVICES: Final = (
    Device("T4", {"fp32": 8.1, "fp16": 65, "int8": 130}, 320, 12),
    Device("L4", {"fp32": 60, "fp16": 121, "int8": 242}, 300, 24),
    Device("A10", {"fp32": 62.5, "fp16": 125, "int8": 250}, 600, 24),
    Device("A100 40 GB", {"fp32": 156, "fp16": 312, "int8": 624}, 1555, 24),
    Device("H100 SXM", {"fp32": 494, "fp16": 989, "int8": 1979}, 3350, 48),
    Device("Orin AGX 64 GB", {"fp32": 21, "fp16": 42, "int8": 85}, 204, None),
)

BYTES: Final[dict[Precision, int]] = {"fp32": 4, "fp16": 2, "int8": 1}
BATCHES: Final = (1, 8, 32)

EFFICIENCY: Final = 0.6
"""Share of either peak that well-tuned kernels reach; an assumption, stated with the result."""

LAUNCH_US: Final = 3.0
"""Time from the end of one kernel to the start of the next, in a CUDA graph; an assumption."""

_FREE: Final = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_FUSED: Final = frozenset({"Relu", "BatchNormalization", "Add", "Mul", "Concat", "Resize"})


@dataclass(frozen=True)
class Estimate:
    """One batch on one device, in milliseconds: compute, and copies in and out of it."""

    device: Device
    precision: Precision
    batch: int
    compute_ms: float
    copy_ms: float

    @property
    def latency_ms(self) -> float:
        """Copies and compute one after the other."""
        return self.compute_ms + self.copy_ms

    @property
    def throughput(self) -> float:
        """Images per second with copies overlapped by the compute of other batches."""
        return self.batch * 1e3 / max(self.compute_ms, self.copy_ms)


def fuse(costs: Iterable[LayerCost]) -> list[LayerCost]:
    """Return the layers that read and write memory when pointwise operators are fused.

    BatchNorm, ReLU, sums, upsampling and concatenation are taken to run inside a neighbouring
    convolution, as TensorRT builds them: a sum still reads its second operand.
    """
    kept: list[LayerCost] = []
    for cost in costs:
        if cost.operator in _FREE:
            continue
        if cost.operator in _FUSED:
            if cost.operator == "Add":
                kept.append(LayerCost(cost.name, "Add", 0, 0, cost.inputs // 2, 0))
            continue
        kept.append(cost)
    return kept


def estimate(
    layers: Sequence[LayerCost], device: Device, precision: Precision, batch: int, embedded: bool
) -> Estimate:
    """Bound one batch from below, at the assumed efficiency.

    Args:
        layers: of ``fuse``.
        device: where.
        precision: of the convolutions and of what lies between them.
        batch: images at once.
        embedded: whether pictures go in as uint8 and landmarks come out, instead of float32
            images and heatmaps.
    """
    size, rate = BYTES[precision], device.tflops[precision] * 1e12 * EFFICIENCY
    flow = device.bandwidth * 1e9 * EFFICIENCY
    seconds = 0.0
    for layer in layers:
        moved = size * (layer.weights + batch * (layer.inputs + layer.outputs))
        launch = LAUNCH_US * 1e-6 * (layer.operator != "Add")
        seconds += max(2 * batch * layer.macs / rate, moved / flow) + launch
    copied = batch * host_bytes(embedded)
    copy = 0.0 if device.link is None else copied / (device.link * 1e9) + 2 * LAUNCH_US * 1e-6
    return Estimate(device, precision, batch, seconds * 1e3, copy * 1e3)


def host_bytes(embedded: bool) -> int:
    """Bytes of one image and its results that cross from and to the host."""
    pixels, heads = 3 * INPUT_SIZE**2, 10
    if embedded:
        return pixels + 4 * (heads + 3 * NUM_LANDMARKS)
    return 4 * (pixels + heads + NUM_LANDMARKS * (INPUT_SIZE // 4) ** 2)


def report(costs: Sequence[LayerCost]) -> str:
    """Return the whole page as Markdown."""
    layers = fuse(costs)
    return "\n\n".join(
        [
            "# What EmoNet's operations allow on GPUs",
            "**Computed from the graph and from data sheets, not measured.** "
            "Printed by `python -m emonet_deploy.benchmarks.speed.roofline`. Each layer is bounded "
            f"by arithmetic or by memory, at {EFFICIENCY:.0%} of the data sheet's peak (dense), "
            f"plus {LAUNCH_US:g} us for each kernel; BatchNorm, ReLU, sums, upsampling and "
            "concatenation are fused into convolutions; float32 is TF32 where the device has it. "
            "Real engines are slower where kernels fit badly, as on the 4 x 4 and 8 x 8 maps.",
            f"One image: {total_macs(list(costs)) / 1e9:.2f} GMAC in {len(layers)} layers. "
            f"Copied to and from the device: {host_bytes(False) / 1e6:.2f} MB as float32 images "
            f"and heatmaps, {host_bytes(True) / 1e6:.2f} MB with embedded processing.",
            "## Latency and throughput",
            "Latency is copies and compute one after the other; throughput has the copies of one "
            "batch overlap the compute of the next, which hides them on each of these devices.",
            _estimates(layers),
            "## Operations and bytes by layer",
            "Bytes are those of one image at batch 1, weights included.",
            _by_layer(layers),
            "",
        ]
    )


def _estimates(layers: Sequence[LayerCost]) -> str:
    rows = []
    for device in DEVICES:
        for precision in BYTES:
            for batch in BATCHES:
                plain, inside = (
                    estimate(layers, device, precision, batch, embedded)
                    for embedded in (False, True)
                )
                rows.append(
                    (
                        device.name, precision, str(batch), f"{plain.compute_ms:.2f}",
                        f"{plain.latency_ms:.2f}", f"{inside.latency_ms:.2f}",
                        f"{plain.throughput:.0f}",
                    )
                )  # fmt: skip
    columns = (
        "device", "precision", "batch", "compute ms", "latency ms", "latency ms, embedded",
        "images/s",
    )  # fmt: skip
    return as_markdown(Table(columns, rows))


def _by_layer(layers: Sequence[LayerCost]) -> str:
    rows = []
    for layer in layers:
        values = layer.weights + layer.inputs + layer.outputs
        sizes = (f"{values * size / 1e6:.2f}" for size in BYTES.values())
        intensity = 2 * layer.macs / (2 * values)
        rows.append(
            (layer.name, layer.operator, f"{layer.macs / 1e6:.1f}", *sizes, f"{intensity:.0f}")
        )
    columns = ("layer", "operator", "MMAC", "MB fp32", "MB fp16", "MB int8", "FLOP/byte fp16")
    return as_markdown(Table(columns, rows))


if __name__ == "__main__":
    print(report(count_operations(Path(sys.argv[1]))), end="")
