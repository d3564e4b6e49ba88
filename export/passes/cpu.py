"""Rewrite EmoNet's float32 graph for ONNX Runtime on CPUs: the same function, fewer operations."""

from collections.abc import Mapping

import onnx

from emonet_deploy.export.passes.merge_pointwise import merge_pointwise
from emonet_deploy.export.passes.nchwc import batchnorm_as_convolution, concat_channels_last
from emonet_deploy.export.passes.winograd import PLAN, Shape, apply_winograd

__all__ = ["rewrite_for_cpu"]


def rewrite_for_cpu(model: onnx.ModelProto, tiles: Mapping[Shape, int] | None = PLAN) -> None:
    """Apply every rewrite that pays on a CPU, in place; exact but for rounding.

    Args:
        model: changed in place.
        tiles: see ``apply_winograd``; None leaves the whole graph as it is.

    Raises:
        ExportError: the graph is not EmoNet's.
    """
    if tiles is None:
        return
    merge_pointwise(model)
    apply_winograd(model, tiles)
    batchnorm_as_convolution(model)
    concat_channels_last(model)
