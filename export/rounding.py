"""Rounding weights so that a layer's output changes least, rather than the weights themselves."""

from collections.abc import Callable
from typing import Final

import torch
from onnx import NodeProto
from torch import Tensor
from torch.nn import functional as F

from emonet_deploy.export.interpreter import kernel_of

__all__ = ["input_covariance", "round_weights"]

SAMPLES: Final = 8192
"""Input patches a covariance is taken from, spread over all faces and places."""

DAMPING: Final = 0.01
"""Added to the diagonal, as a share of its mean."""

SHRINKAGE: Final = 0.1
"""Added as well, for each patch that is missing to the size of the covariance."""

BLOCK: Final = 64

Rounding = Callable[[Tensor], Tensor]
"""From one weight of each output channel, float64, to what can be stored."""


def input_covariance(node: NodeProto, x: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Return the covariance of the patches a convolution reads, float64, K x K.

    Shrunk towards the diagonal, the more the fewer patches there are: what only these faces have
    in common is not to be relied on.

    Args:
        node: the convolution; not grouped.
        x: its input, N x C x H x W.
        kernel: height and width of its weights; K is C times both.
    """
    strides, padding = kernel_of(node)
    each = max(1, SAMPLES // len(x))
    found = []
    for image in x:
        patches = F.unfold(image[None], kernel, padding=padding, stride=strides)[0]
        # Columns of an even grid would be the same places of each row: an odd step moves on.
        found.append(patches[:, :: max(1, patches.shape[1] // each) | 1])
    samples = torch.cat(found, 1)
    count = samples.shape[1]
    mean = samples.mean(1, keepdim=True)
    samples -= mean
    covariance = (samples @ samples.T).double() / count
    doubt = DAMPING + SHRINKAGE * len(mean) / count
    covariance.diagonal().add_(doubt * covariance.diagonal().mean() + 1e-12)
    return covariance


def round_weights(weight: Tensor, rounding: Rounding, covariance: Tensor) -> Tensor:
    """Round weights one after the other, each taking up the errors of those before it.

    The error that a rounded weight leaves in the output is made good, as far as it can be
    foreseen from how the inputs go together, by the weights not yet rounded (Frantar et al.,
    "GPTQ: accurate post-training quantization for generative pre-trained transformers", 2023).

    Args:
        weight: out x in x height x width.
        rounding: how a value is rounded.
        covariance: of the input patches; their mean is left to the correction of the bias.

    Returns:
        What was stored, in the shape and type of the weights.
    """
    diagonal = covariance.diagonal()
    # The liveliest inputs first, while the most weights are left to make good.
    order = diagonal.argsort(descending=True, stable=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(covariance[order][:, order]))
    factor = torch.linalg.cholesky(inverse, upper=True)
    left = weight.flatten(1).double()[:, order]
    rounded = torch.empty_like(left)
    for start in range(0, left.shape[1], BLOCK):
        end = min(start + BLOCK, left.shape[1])
        errors = torch.empty_like(left[:, start:end])
        for i in range(start, end):
            rounded[:, i] = rounding(left[:, i])
            errors[:, i - start] = (left[:, i] - rounded[:, i]) / factor[i, i]
            left[:, i:end] -= errors[:, i - start, None] * factor[i, i:end]
        left[:, end:] -= errors @ factor[start:end, end:]
    result = torch.empty_like(rounded)
    result[:, order] = rounded
    return result.reshape(weight.shape).to(weight.dtype)
