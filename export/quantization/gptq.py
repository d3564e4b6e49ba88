"""Rounding weights so that a layer's output changes least, rather than the weights themselves."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from onnx import NodeProto
from torch import Tensor
from torch.nn import functional as F

from emonet_deploy.export.graph.interpreter import strides_and_padding
from emonet_deploy.export.quantization.qparams import QuantizedConv, Steps, half_scales

__all__ = ["ANY_SUM", "SUM_IN_16_BITS", "input_covariance", "round_layer", "round_weights"]

SAMPLES: Final = 8192
"""Input patches a covariance is taken from, spread over all faces and places."""

DAMPING: Final = 0.01
"""Added to the diagonal, as a share of its mean."""

SHRINKAGE: Final = 0.1
"""Added as well, times the covariance's size over the number of patches."""

WEIGHT_CLIPS: Final = np.linspace(0.7, 1.0, 7)
"""Shares of a channel's largest weight that are tried as its range."""

BLOCK: Final = 64

LARGEST: Final = 127
"""Largest weight in steps; the smallest is its negative."""

SUM_IN_16_BITS: Final = 128
"""Largest sum, in steps, of two weights of neighbouring input channels, for any processor.

CPUs without instructions for it (VNNI) multiply 8 bits by 8 and add the products of two such
channels in 16 bits: 255 * 128 is the largest multiple of 255 that these hold.
"""

ANY_SUM: Final = 2 * LARGEST
"""No limit on it: where products are added in 32 bits."""


def round_layer(
    node: NodeProto, inputs: Sequence[Tensor], steps: Steps, largest_sum: int
) -> QuantizedConv:
    """Write a convolution in int8.

    Args:
        node: the convolution, depthwise or reading an even number of channels.
        inputs: its input on sample faces, its weights and, where it has one, its bias.
        steps: how its input is written.
        largest_sum: of two weights, as in ``round_weights``.
    """
    weight = inputs[1]
    scales = _weight_scales(weight, largest_sum)
    if weight.shape[1] == 1:  # one channel each: there is nothing to make good with
        codes = (weight.double() / _column(scales)).round().clamp(-LARGEST, LARGEST)
    else:
        covariance = input_covariance(node, inputs[0], (weight.shape[2], weight.shape[3]))
        codes = round_weights(weight, scales, covariance, largest_sum)
    bias = inputs[2].numpy() if len(inputs) > 2 else np.zeros(len(weight), np.float32)
    return QuantizedConv(
        steps, codes.numpy().astype(np.int8), scales.numpy(), bias.astype(np.float32)
    )


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


def round_weights(weight: Tensor, scales: Tensor, covariance: Tensor, largest_sum: int) -> Tensor:
    """Round weights one after the other, each taking up the errors of those before it.

    The error that a rounded weight leaves in the output is made good, as far as it can be
    foreseen from how the inputs go together, by the weights not yet rounded (Frantar et al.,
    "GPTQ: accurate post-training quantization for generative pre-trained transformers", 2023).
    What a weight loses to ``largest_sum`` is such an error too.

    Args:
        weight: out x in x height x width, with an even number of input channels.
        scales: the size of each output channel's steps.
        covariance: of the input patches; their mean is left to the correction of the bias.
        largest_sum: in steps, of two weights of one sign and of the input channels 2i and 2i + 1.

    Returns:
        Whole numbers of steps in the shape of the weights, float64.
    """
    diagonal = covariance.diagonal()
    # The liveliest inputs first, while the most weights are left to make good.
    order = diagonal.argsort(descending=True, stable=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(covariance[order][:, order]))
    factor = torch.linalg.cholesky(inverse, upper=True)
    left = (weight.double() / _column(scales)).flatten(1)[:, order]
    partners = order.argsort()[_partners(weight)[order]].tolist()
    codes = torch.empty_like(left)
    for start in range(0, left.shape[1], BLOCK):
        end = min(start + BLOCK, left.shape[1])
        errors = torch.empty_like(left[:, start:end])
        for i, partner in enumerate(partners[start:end], start):
            if partner < i:
                low, high = _limits(codes[:, partner], largest_sum)
                codes[:, i] = left[:, i].round().clamp(low, high)
            else:
                # A partner beyond the block is still as it was; ``_limits`` will settle it.
                codes[:, i] = _shared(left[:, i], left[:, partner], largest_sum).round()
            errors[:, i - start] = (left[:, i] - codes[:, i]) / factor[i, i]
            left[:, i:end] -= errors[:, i - start, None] * factor[i, i:end]
        left[:, end:] -= errors @ factor[start:end, end:]
    result = torch.empty_like(codes)
    result[:, order] = codes
    return result.reshape(weight.shape)


def _weight_scales(weight: Tensor, largest_sum: int) -> Tensor:
    """Return the scale of each output channel that leaves the smallest squared error."""
    rows = weight.flatten(1).double()
    others = torch.zeros_like(rows) if weight.shape[1] == 1 else rows[:, _partners(weight)]
    together = torch.where(rows * others > 0, (rows + others).abs(), 0)
    largest = torch.maximum(rows.abs() / LARGEST, together / largest_sum).amax(1)
    candidates = [_half(largest * clip) for clip in WEIGHT_CLIPS]
    errors = []
    for scales in candidates:
        steps = rows / scales[:, None]
        left = _shared(steps, others / scales[:, None], largest_sum).round() - steps
        errors.append((left * scales[:, None]).square().sum(1))
    best = torch.stack(errors).argmin(0)
    return torch.stack(candidates)[best, torch.arange(len(rows))].float()


def _partners(weight: Tensor) -> Tensor:
    """Return the place in a flattened row of the weight whose product each one's is added to."""
    places = torch.arange(weight[0].numel()).reshape(weight.shape[1] // 2, 2, -1)
    return places.flip(1).flatten()


def _shared(steps: Tensor, partners: Tensor, largest_sum: int) -> Tensor:
    """Bring weights into their range, each taking half of what it exceeds with its partner."""
    steps, partners = steps.clamp(-LARGEST, LARGEST), partners.clamp(-LARGEST, LARGEST)
    excess = torch.where(steps * partners > 0, (steps + partners).abs() - largest_sum, 0)
    return steps - steps.sign() * excess.clamp_min(0) / 2


def _limits(partner: Tensor, largest_sum: int) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest weight next to its partner."""
    low, high = -largest_sum - partner.clamp_max(0), largest_sum - partner.clamp_min(0)
    return low.clamp_min(-LARGEST), high.clamp_max(LARGEST)


def _half(scales: Tensor) -> Tensor:
    return torch.from_numpy(half_scales(scales.numpy())).double()


def _column(values: Tensor) -> Tensor:
    return values.double().reshape(-1, 1, 1, 1)
