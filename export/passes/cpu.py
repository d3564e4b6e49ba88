"""Rewrite EmoNet's float32 graph for ONNX Runtime on CPUs: the same function, fewer operations."""

import onnx

from emonet_deploy.export.passes.merge_pointwise import merge_pointwise
from emonet_deploy.export.passes.nchwc import batchnorm_as_convolution, concat_channels_last
from emonet_deploy.export.passes.winograd import apply_winograd

__all__ = ["rewrite_for_cpu"]


def rewrite_for_cpu(model: onnx.ModelProto) -> None:
    """Apply every rewrite that pays on a CPU, in place; exact but for rounding.

    Raises:
        ExportError: the graph is not EmoNet's.
    """
    merge_pointwise(model)
    apply_winograd(model)
    batchnorm_as_convolution(model)
    concat_channels_last(model)
