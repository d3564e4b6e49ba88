"""GPTQ: round weights so that a layer's output changes least, rather than the weights themselves.

Frantar et al., "GPTQ: accurate post-training quantization for generative pre-trained transformers",
2022: column by column, each rounded weight's error is made good by those not yet rounded, by the
inverse of the layer's Hessian. For AdaRound (Nagel et al., "Up or down? Adaptive rounding for
post-training quantization", 2020), which looks at the same objective, each layer would have to be
trained.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from onnx import NodeProto
from torch import Tensor
from torch.nn import functional as F

from emonet_deploy.export.graph.torch_interpreter import strides_and_padding
from emonet_deploy.export.quantization.qparams import QuantizedConv, QuantParams, half_scales

__all__ = ["ANY_SUM", "SUM_IN_16_BITS", "gptq", "layer_hessian", "quantize_conv"]

SAMPLES: Final = 8192
"""Input patches a Hessian is taken from, spread over all faces and places."""

DAMPING: Final = 0.01
"""Added to the Hessian's diagonal, as a share of its mean (GPTQ's ``percdamp``)."""

SHRINKAGE: Final = 0.1
"""Added as well, times the Hessian's size over the number of patches."""

WEIGHT_CLIPS: Final = np.linspace(0.7, 1.0, 7)
"""Shares of a channel's largest weight that are tried as its range."""

BLOCK_SIZE: Final = 64
"""Columns whose errors reach the columns behind them together; for speed alone."""

LARGEST: Final = 127
"""Largest weight in steps; the smallest is its negative."""

SUM_IN_16_BITS: Final = 128
"""Largest sum, in steps, of two weights of neighbouring input channels, for any processor.

CPUs without instructions for it (VNNI) multiply 8 bits by 8 and add the products of two such
channels in 16 bits: 255 * 128 is the largest multiple of 255 that these hold.
"""

ANY_SUM: Final = 2 * LARGEST
"""No limit on it: where products are added in 32 bits."""


def quantize_conv(
    node: NodeProto, inputs: Sequence[Tensor], qparams: QuantParams, largest_sum: int
) -> QuantizedConv:
    """Write a convolution in int8.

    Args:
        node: the convolution, depthwise or reading an even number of channels.
        inputs: its input on sample faces, its weights and, where it has one, its bias.
        qparams: of its input.
        largest_sum: of two weights, as in ``gptq``.
    """
    weight = inputs[1]
    scales = _weight_scales(weight, largest_sum)
    if weight.shape[1] == 1:  # one channel each: there is nothing to make good with
        codes = (weight.double() / _column(scales)).round().clamp(-LARGEST, LARGEST)
    else:
        hessian = layer_hessian(node, inputs[0], (weight.shape[2], weight.shape[3]))
        codes = gptq(weight, scales, hessian, largest_sum)
    bias = inputs[2].numpy() if len(inputs) > 2 else np.zeros(len(weight), np.float32)
    return QuantizedConv(
        qparams, codes.numpy().astype(np.int8), scales.numpy(), bias.astype(np.float32)
    )


def layer_hessian(node: NodeProto, x: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Return half the Hessian of a convolution's squared output error, float64, K x K.

    By its weights, for each output channel the same: the second moments of the patches it reads.
    The error's mean is left to the correction of the bias, so these are the covariance. Shrunk
    towards the diagonal, the more the fewer patches there are: what only these faces have in common
    is not to be relied on.

    Args:
        node: the convolution; not grouped.
        x: its input, N x C x H x W.
        kernel: height and width of its weights; K is C times both.
    """
    strides, padding = strides_and_padding(node)
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    height, width = ((x.shape[i + 2] - kernel[i]) // strides[i] + 1 for i in (0, 1))
    # Columns of an even grid would be the same places of each row: an odd step moves on.
    step = max(1, height * width // max(1, SAMPLES // len(x))) | 1
    places = torch.arange(0, height * width, step)
    rows, columns = places // width * strides[0], places % width * strides[1]
    shifted = [
        x[:, :, rows + dy, columns + dx] for dy in range(kernel[0]) for dx in range(kernel[1])
    ]
    # Faces x channels x kernel x places, and the faces' places side by side.
    samples = torch.stack(shifted, 2).flatten(1, 2).transpose(0, 1).flatten(1)
    count = samples.shape[1]
    mean = samples.mean(1, keepdim=True)
    samples -= mean
    hessian = (samples @ samples.T).double() / count
    doubt = DAMPING + SHRINKAGE * len(mean) / count
    hessian.diagonal().add_(doubt * hessian.diagonal().mean() + 1e-12)
    return hessian


def gptq(weight: Tensor, scales: Tensor, hessian: Tensor, largest_sum: int) -> Tensor:
    """Round weights one after the other, each taking up the errors of those before it.

    The error that a rounded weight leaves in the output is made good, as far as it can be
    foreseen from how the inputs go together, by the weights not yet rounded. What a weight loses
    to ``largest_sum`` is such an error too.

    Args:
        weight: out x in x height x width, with an even number of input channels.
        scales: the size of each output channel's steps.
        hessian: of the layer, K x K, as ``layer_hessian`` gives it.
        largest_sum: in steps, of two weights of one sign and of the input channels 2i and 2i + 1.

    Returns:
        Whole numbers of steps in the shape of the weights, float64.
    """
    diagonal = hessian.diagonal()
    # GPTQ's act-order: the liveliest inputs first, while the most weights are left to make good.
    order = diagonal.argsort(descending=True, stable=True)
    factor = _inverse_factor(hessian[order][:, order])
    left = (weight.double() / _column(scales)).flatten(1)[:, order]
    partners = order.argsort()[_partners(weight)[order]].tolist()
    codes = torch.empty_like(left)
    for start in range(0, left.shape[1], BLOCK_SIZE):
        end = min(start + BLOCK_SIZE, left.shape[1])
        errors = torch.empty_like(left[:, start:end])
        for i, partner in enumerate(partners[start:end], start):
            if largest_sum >= ANY_SUM:
                codes[:, i] = left[:, i].round().clamp_(-LARGEST, LARGEST)
            elif partner < i:
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


def _inverse_factor(matrix: Tensor) -> Tensor:
    """Return the upper triangular U with U^T U the inverse of a positive definite matrix.

    GPTQ inverts the matrix and factors the inverse. Turned end for end, the inverse of the matrix's
    own factor is the same U, in four fifths of the time.
    """
    lower = torch.linalg.cholesky(matrix.flip(0, 1))
    identity = torch.eye(len(lower), dtype=lower.dtype)
    inverse: Tensor = torch.linalg.solve_triangular(lower, identity, upper=False)
    return inverse.flip(0, 1)


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
