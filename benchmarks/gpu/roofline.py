"""What EmoNet's compiled kernels allow on GPUs: computed from what they move and multiply.

Each kernel of an engine takes at least as long as its multiply-accumulates at the device's peak for
their type, and as its bytes at the memory's bandwidth; the longer of the two counts (Williams,
Waterman and Patterson, "Roofline", 2009), and launching it takes a moment. Run as
``python -m emonet_deploy.benchmarks.gpu.roofline`` to print ``docs/gpu-roofline.md`` of the kernels
in ``benchmarks/gpu/compiled_kernels.json``; with reports of ``emonet build --report`` as
``fp16=report.json ...`` it prints that file.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from emonet_deploy.emonet_ref.constants import INPUT_SIZE, NUM_LANDMARKS
from emonet_deploy.runtime.choices import Precision
from emonet_deploy.runtime.output.table_formats import Table, as_markdown

__all__ = ["DEVICES", "Device", "Kernel", "estimate_ms", "kernels_of", "read_kernels", "report"]


@dataclass(frozen=True)
class Device:
    """Peaks from the maker's data sheet, dense, without sparsity; boost clocks.

    Attributes:
        name: as sold.
        tflops: multiply-adds count as two, by type: float32 on the ordinary units, as TF32, which
            would be faster and rounds to ten bits, is off in these engines.
        bandwidth: of its memory, GB/s.
        link: from and to the host, GB/s; None where both share one memory.
    """

    name: str
    tflops: Mapping[Precision, float]
    bandwidth: float
    link: float | None


DEVICES: Final = (
    Device("T4", {"fp32": 8.1, "fp16": 65, "int8": 130}, 320, 12),
    Device("L4", {"fp32": 30.3, "fp16": 121, "int8": 242}, 300, 24),
    Device("A10", {"fp32": 31.2, "fp16": 125, "int8": 250}, 600, 24),
    Device("A100 40 GB", {"fp32": 19.5, "fp16": 312, "int8": 624}, 1555, 24),
    Device("H100 SXM", {"fp32": 67, "fp16": 989, "int8": 1979}, 3350, 48),
    Device("Orin AGX 64 GB", {"fp32": 5.3, "fp16": 42, "int8": 85}, 204, None),
)

BATCHES: Final = (1, 8, 32)

PEAK_SHARE: Final = 0.6
"""Share of the arithmetic peak that well-tuned kernels reach; an assumption."""

BANDWIDTH_SHARE: Final = 0.8
"""Share of the bandwidth likewise."""

LAUNCH_US: Final = 2.0
"""Time from the end of one kernel to the start of the next, in a CUDA graph; an assumption."""

COMPILED: Final = Path(__file__).with_name("compiled_kernels.json")

_BYTES: Final = {"int8": 1, "uint8": 1, "bool": 1, "fp8": 1, "half": 2, "bf16": 2, "int64": 8}
_RATES: Final[Mapping[str, Precision]] = {"int8": "int8", "half": "fp16"}
_NO_KERNEL: Final = "shape_call"
_PRODUCT: Final = re.compile("corr|conv|fc|gemm|matmul", re.IGNORECASE)
"""In the kind or the name of a kernel that multiplies by weights."""


@dataclass(frozen=True)
class Kernel:
    """What one kernel of an engine costs.

    Attributes:
        type: of its weights, or its first input: ``int8``, ``half``, ``float``.
        macs: multiply-accumulates of a convolution for one image; 0 of all else.
        image_bytes: read and written for each image.
        constant_bytes: of weights, scales and shifts, read once for a batch.
    """

    type: str
    macs: int
    image_bytes: int
    constant_bytes: int


def kernels_of(layers: Sequence[Mapping[str, Any]]) -> list[Kernel]:
    """Return the kernels of an engine from the layers in a report of ``emonet build``."""
    return [_kernel(layer) for layer in layers if layer["kind"] != _NO_KERNEL]


def _kernel(layer: Mapping[str, Any]) -> Kernel:
    def size(tensors: Sequence[Mapping[str, Any]]) -> int:
        return sum(
            prod(max(n, 1) for n in tensor["shape"]) * _BYTES.get(tensor["type"], 4)
            for tensor in tensors
        )

    macs = 0
    if _PRODUCT.search(f"{layer['kind']} {layer['name']}") and layer["outputs"]:
        # Each weight is multiplied once for each pixel of the result: N x channels x pixels.
        pixels = [max(n, 1) for n in layer["outputs"][0]["shape"]][2:]
        macs = prod(layer["weights"]) * prod(pixels) if len(layer["weights"]) > 1 else 0
    return Kernel(
        layer["precision"], macs, size([*layer["inputs"], *layer["outputs"]]),
        size(layer["constants"]),
    )  # fmt: skip


def read_kernels(path: Path = COMPILED) -> dict[Precision, list[Kernel]]:
    """Return the kernels of each precision from a file that this module wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))["kernels"]
    return {precision: [Kernel(*row) for row in rows] for precision, rows in found.items()}


def estimate_ms(kernels: Sequence[Kernel], device: Device, batch: int) -> float:
    """Return milliseconds of one batch's kernels, one after the other, at the assumed shares."""
    flow = device.bandwidth * 1e9 * BANDWIDTH_SHARE
    seconds = 0.0
    for kernel in kernels:
        rate = device.tflops[_RATES.get(kernel.type, "fp32")] * 1e12 * PEAK_SHARE
        moved = kernel.constant_bytes + batch * kernel.image_bytes
        seconds += max(2 * batch * kernel.macs / rate, moved / flow) + LAUNCH_US * 1e-6
    return seconds * 1e3


def host_bytes(embedded: bool) -> int:
    """Bytes of one image and its results that cross from and to the host."""
    pixels, heads = 3 * INPUT_SIZE**2, 10
    if embedded:
        return pixels + 4 * (heads + 3 * NUM_LANDMARKS)
    return 4 * (pixels + heads + NUM_LANDMARKS * (INPUT_SIZE // 4) ** 2)


def report(compiled: Mapping[Precision, Sequence[Kernel]], about: str) -> str:
    """Return the whole page as Markdown.

    Args:
        compiled: kernels by precision.
        about: what compiled them.
    """
    return "\n\n".join(
        [
            "# What EmoNet's compiled kernels allow on GPUs",
            f"**Computed, not measured on a GPU.** {about} compiled the 8-class network with the "
            "`image` interface for compute capability 8.9, in INT8 with every convolution but the "
            "first in 8 bits (a calibrated model leaves about ten more in half), and told what "
            "each kernel reads, writes and multiplies; "
            "`python -m emonet_deploy.benchmarks.gpu.roofline` prints this page. "
            "Each kernel is bounded by arithmetic in its own type or by memory, at "
            f"{PEAK_SHARE:.0%} of the data sheet's dense peak and {BANDWIDTH_SHARE:.0%} of its "
            f"bandwidth, plus {LAUNCH_US:g} us for each kernel; float32 is not TF32. No cache is "
            "counted on. The kernels for 8.9 are applied to every GPU: TensorRT-RTX has no int8 "
            "for the T4 and no target for H100 and Orin, which run TensorRT, and that may fuse "
            "otherwise. Differences between rows say more than the figures.",
            "## What moves",
            _traffic(compiled),
            f"Copied to and from the device for each image: {host_bytes(False) / 1e6:.2f} MB as "
            f"float32 images and heatmaps (`tensor`), {host_bytes(True) / 1e6:.2f} MB with "
            "embedded processing (`image`).",
            "## Milliseconds per image",
            _times(compiled),
            "",
        ]
    )


def _traffic(compiled: Mapping[Precision, Sequence[Kernel]]) -> str:
    rows = []
    for precision, kernels in compiled.items():
        convolving = [kernel for kernel in kernels if kernel.macs]
        others = sum(kernel.image_bytes for kernel in kernels if not kernel.macs)
        moved = sum(kernel.image_bytes + kernel.constant_bytes / 8 for kernel in kernels)
        rows.append(
            (
                precision, str(len(kernels)), str(len(convolving)),
                f"{sum(kernel.macs for kernel in kernels) / 1e9:.2f}", f"{moved / 1e6:.0f}",
                f"{others / moved:.0%}",
            )
        )  # fmt: skip
    columns = (
        "precision", "kernels", "products", "GMAC per image", "MB per image at batch 8",
        "of which outside of products",
    )  # fmt: skip
    return as_markdown(Table(columns, rows))


def _times(compiled: Mapping[Precision, Sequence[Kernel]]) -> str:
    rows = []
    for device in DEVICES:
        for precision, kernels in compiled.items():
            times = (estimate_ms(kernels, device, batch) / batch for batch in BATCHES)
            rows.append((device.name, precision, *(f"{ms:.2f}" for ms in times)))
    return as_markdown(Table(("device", "precision", *(f"batch {b}" for b in BATCHES)), rows))


def _compiled(reports: Sequence[str]) -> str:
    """Return the text of ``COMPILED`` for reports of ``emonet build``, as ``fp16=FILE``."""
    kernels, about = {}, ""
    for word in reports:
        precision, _, path = word.partition("=")
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        about = found["builder"]
        kernels[precision] = [list(astuple(kernel)) for kernel in kernels_of(found["layers"])]
    rows = ",\n".join(
        f'  "{name}": [\n'
        + ",\n".join(f"   {json.dumps(kernel)}" for kernel in kernels[name])
        + "\n  ]"
        for name in kernels
    )
    return f'{{\n "about": {json.dumps(about)},\n "kernels": {{\n{rows}\n }}\n}}\n'


def page() -> str:
    """Return ``docs/gpu-roofline.md``."""
    about = json.loads(COMPILED.read_text(encoding="utf-8"))["about"]
    return report(read_kernels(), about)


if __name__ == "__main__":
    print(_compiled(sys.argv[1:]) if len(sys.argv) > 1 else page(), end="")
