"""PyTorch compiled: in float32, and quantised by torchao for x86 as its tutorial has it."""

from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emonet_deploy.benchmarks.speed.peers.source import Images, Open, Run, Source
from emonet_deploy.runtime.array_type import Array

__all__ = ["compiled", "quantized"]


class _Scale(nn.Module):
    """A BatchNorm as the scale and the shift that it is, for images.

    torchao 0.18 folds a BatchNorm into the convolution before it even where something else reads
    that convolution as well, as in every block of EmoNet: it would quantise another function.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        self.scale = nn.Buffer(scale[:, None, None])
        self.shift = nn.Buffer((norm.bias - norm.running_mean * scale)[:, None, None])

    def forward(self, values: Tensor) -> Tensor:
        return values * self.scale + self.shift


def compiled(source: Source) -> Open:
    """``torch.compile`` with its defaults."""
    return partial(_open, source.model, False)


def quantized(source: Source) -> Open:
    """Quantised with the default recipe of ``X86InductorQuantizer``, weights frozen."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    recipe = get_default_x86_inductor_quantization_config()
    with torch.no_grad():
        model = _without_norms(source.model)
        graph = torch.export.export(model, (torch.zeros(1, 3, 256, 256),)).module()
        observed = prepare_pt2e(graph, X86InductorQuantizer().set_global(recipe))
        for face in source.faces():
            observed(torch.from_numpy(face))
        return partial(_open, convert_pt2e(observed), True)


def _without_norms(model: nn.Module) -> nn.Module:
    """Return a copy in which each BatchNorm is a ``_Scale``."""
    copied = deepcopy(model)
    for name, module in list(copied.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            copied.set_submodule(name, _Scale(module))
    return copied


def _open(model: Any, freeze: bool, threads: int) -> Run:  # noqa: ANN401 - a module or a graph
    from torch._inductor import config

    # The reference, in the same process, has set PyTorch's threads.
    network: Any = torch.compile(model)

    def run(images: Images) -> list[Array]:
        with torch.no_grad():
            return [output.numpy() for output in network(torch.from_numpy(images))]

    # Only weights that are frozen become those of int8 kernels; while it traces, the option of
    # `torch.compile` is not seen yet.
    with config.patch(freezing=freeze):
        run(np.zeros((1, 3, 256, 256), np.float32))
    return run
