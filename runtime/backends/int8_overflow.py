"""Whether this processor computes an INT8 model exactly: without VNNI, 16-bit sums may overflow."""

from pathlib import Path
from typing import Final

from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.hardware.cpu import processor
from emonet_deploy.runtime.metadata import ModelInfo

__all__ = ["EXACT_SUMS", "VNNI", "require_exact_products"]

VNNI: Final = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})
"""Instructions that sum products of 8 bits in 32: nothing overflows on the way."""

EXACT_SUMS: Final = "sums_fit_16_bits"
"""In an INT8 model's record: whether its weights are small enough for processors without VNNI."""


def require_exact_products(info: ModelInfo, path: Path) -> None:
    """Refuse an INT8 model that this processor is known to compute wrongly.

    Raises:
        ArtifactError: products of two neighbouring channels may overflow 16 bits, in which
            this processor adds them; see ``export.quantization.gptq``.
    """
    if info.precision != "int8" or (info.calibration or {}).get(EXACT_SUMS, False):
        return
    _, instructions = processor()
    if instructions and VNNI.isdisjoint(instructions):
        raise ArtifactError(
            f"{path} would give wrong results on this processor, which has no VNNI; "
            "make one for it with `emonet export --precision int8 --target cpu`"
        )
