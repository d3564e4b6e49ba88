"""Rounding weights so that a layer's output changes least, rather than the weights themselves."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor
from torch.nn import functional as F

from emonet_deploy.export.interpreter import strides_and_padding
from emonet_deploy.export.steps import QuantizedConv, Steps, half_scales

__all__ = ["input_covariance", "round_layer", "round_weights"]

SAMPLES: Final = 8192
"""Input patches a covariance is taken from, spread over all faces and places."""

DAMPING: Final = 0.01
"""Added to the diagonal, as a share of its mean."""

SHRINKAGE: Final = 0.1
"""Added as well, times the covariance's size over the number of patches."""

WEIGHT_CLIPS: Final = np.linspace(0.7, 1.0, 7)
"""Shares of a channel's largest weight that are tried as its range."""

BLOCK: Final = 64

Rounding = Callable[[Tensor], Tensor]
"""From one weight of each output channel, float64, to what can be stored."""


def round_layer(
    node: NodeProto, inputs: Sequence[Tensor], steps: Steps, levels: int
) -> QuantizedConv:
    """Write a convolution in int8.

    Args:
        node: the convolution.
        inputs: its input on sample faces, its weights and, where it has one, its bias.
        steps: how its input is written.
        levels: the largest weight; the smallest is its negative.
    """
    weight = inputs[1]
    scales = _weight_scales(weight.numpy(), levels)
    sizes = torch.from_numpy(scales).double()

    def rounding(column: Tensor) -> Tensor:
        return (column / sizes).round().clamp(-levels, levels) * sizes

    if weight.shape[1] == 1:  # one channel each: there is nothing to make good with
        rounded = rounding(weight.flatten(1).double().T[0]).reshape(weight.shape).float()
    else:
        covariance = input_covariance(node, inputs[0], (weight.shape[2], weight.shape[3]))
        rounded = round_weights(weight, rounding, covariance)
    integers = np.rint(rounded.numpy() / scales.reshape(-1, 1, 1, 1)).astype(np.int8)
    bias = inputs[2].numpy() if len(inputs) > 2 else np.zeros(len(weight), np.float32)
    return QuantizedConv(steps, integers, scales, bias.astype(np.float32))


def input_covariance(node: NodeProto, x: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Return the covariance of the patches a convolution reads, float64, K x K.

    Shrunk towards the diagonal, the more the fewer patches there are: what only these faces have
    in common is not to be relied on.

    Args:
        node: the convolution; not grouped.
        x: its input, N x C x H x W.
        kernel: height and width of its weights; K is C times both.
    """
    strides, padding = strides_and_padding(node)
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


def _weight_scales(weight: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Return the scale of each output channel that leaves the smallest squared error."""
    rows = weight.reshape(len(weight), -1)
    largest = np.abs(rows).max(1)
    best, least = half_scales(largest / levels), np.full(len(rows), np.inf)
    for clip in WEIGHT_CLIPS:
        scales = half_scales(largest * np.float32(clip / levels))
        steps = scales[:, None]
        rounded = np.clip(np.rint(rows / steps), -levels, levels) * steps
        errors = np.square(rounded - rows).sum(1)
        best = np.where(errors < least, scales, best)
        least = np.minimum(errors, least)
    return np.asarray(best, np.float32)
