"""LiteRT, whose CPU kernels are XNNPACK's, on the reference's exported graph."""

from typing import Any

import torch
from torch import Tensor, nn

from emonet_deploy.benchmarks.speed.peers.source import Images, Open, Run, Source
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.runtime.array_type import Array

__all__ = ["float32"]


class _Unnamed(nn.Module):
    """The reference with a plain tuple of outputs: the converter fails on a named one."""

    def __init__(self, model: EmoNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model(images))


def float32(source: Source) -> Open:
    """All in float32."""
    import litert_torch

    path = source.folder / "model.tflite"
    model = _Unnamed(source.model).eval()
    litert_torch.convert(model, (torch.zeros(1, 3, 256, 256),)).export(str(path))

    def open_on(threads: int) -> Run:
        from ai_edge_litert.interpreter import Interpreter

        interpreter: Any = Interpreter(str(path), num_threads=threads)
        runner = interpreter.get_signature_runner()
        (given,) = runner.get_input_details()

        def run(images: Images) -> list[Array]:
            outputs = runner(**{given: images})
            return [outputs[f"output_{i}"] for i in range(4)]

        return run

    return open_on
