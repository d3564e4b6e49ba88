"""The table of precisions: what each is made for, what it must reach, and how it is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from emonet_deploy.runtime.choices import Backend, Precision, Target

__all__ = ["PRECISIONS", "Gates", "PrecisionSpec", "gates_of"]


@dataclass(frozen=True)
class Gates:
    """What an artifact must reach against its reference; ``None`` is not asked for.

    Attributes:
        max_error: largest error of any output, as a share of that output's standard deviation.
        ccc: lowest concordance correlation of valence and of arousal.
        agreement: lowest share of equal classes, ties apart.
        layer_noise: largest noise in the channels of any convolution, as a share of their variance.
        layer_gain: largest deviation from 1 of any convolution's gain.
        strays: most channels that resemble another one of the reference's layer.
    """

    max_error: float | None = None
    ccc: float | None = None
    agreement: float | None = None
    layer_noise: float | None = None
    layer_gain: float | None = None
    strays: float | None = None


@dataclass(frozen=True)
class PrecisionSpec:
    """One precision of the convolutions.

    Attributes:
        bits: of a weight.
        gates: by target; only these targets have artifacts of the precision.
        max_drop: how much worse than the reference's any metric of accuracy may be.
        color: of its points in a plot: red, green, blue. Of Okabe and Ito, "Color universal
            design", 2008: told apart by colour-blind eyes too.
        calibrated: whether it is made on sample faces.
        backends: those that compute in it, where not all that run its file do.
    """

    bits: int
    gates: Mapping[Target, Gates]
    max_drop: float
    color: tuple[int, int, int]
    calibrated: bool = False
    backends: tuple[Backend, ...] | None = None


_INT8_GATES: Final = Gates(ccc=0.99, agreement=0.90, layer_noise=0.5, layer_gain=0.25, strays=0)

PRECISIONS: Final[Mapping[Precision, PrecisionSpec]] = {
    "fp32": PrecisionSpec(
        bits=32,
        gates={
            "gpu": Gates(
                max_error=1e-4, agreement=1.0, layer_noise=1e-6, layer_gain=1e-3, strays=0
            ),
            # Exact algebra sums in another order.
            "cpu": Gates(
                max_error=1e-3, agreement=1.0, layer_noise=1e-5, layer_gain=1e-3, strays=0
            ),
        },
        max_drop=0.001,
        color=(0, 114, 178),
    ),
    "fp16": PrecisionSpec(
        bits=16,
        gates={
            "gpu": Gates(ccc=0.9999, agreement=0.99, layer_noise=1e-3, layer_gain=0.02, strays=0)
        },
        max_drop=0.01,
        color=(0, 158, 115),
    ),
    # The file is float32's: the processor rounds what it multiplies, and sums in float32.
    "bf16": PrecisionSpec(
        bits=16,
        gates={
            "cpu": Gates(ccc=0.995, agreement=0.95, layer_noise=1e-6, layer_gain=1e-3, strays=0)
        },
        max_drop=0.01,
        color=(204, 121, 167),
        backends=("openvino",),
    ),
    "int8": PrecisionSpec(
        bits=8,
        gates={"gpu": _INT8_GATES, "cpu": _INT8_GATES},
        max_drop=0.03,
        color=(213, 94, 0),
        calibrated=True,
    ),
}
"""Every precision, by name."""


def gates_of(precision: Precision, target: Target = "gpu") -> Gates:
    """Return what an artifact of a precision and a target must reach.

    Example:
        >>> gates_of("int8").ccc
        0.99
    """
    return PRECISIONS[precision].gates[target]
