"""ncnn on a trace of the reference: in float32, and with values kept in bfloat16."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emonet_deploy.benchmarks.speed.peers.source import Images, Open, Run, Source, convert
from emonet_deploy.runtime.array_type import Array

__all__ = ["bfloat16", "float32"]


def float32(source: Source) -> Open:
    """All in float32."""
    return partial(_open, _convert(source), False)


def bfloat16(source: Source) -> Open:
    """Weights and values between layers in bfloat16."""
    return partial(_open, _convert(source), True)


def _convert(source: Source) -> Path:
    import pnnx

    # pnnx loses the axis of a ReduceSum in an ONNX model; in a trace it keeps it.
    traced = source.folder / "model.pt"
    with torch.no_grad():
        trace: Any = torch.jit.trace  # has no types
        trace(source.model, torch.zeros(1, 3, 256, 256)).save(str(traced))
    convert(pnnx.EXEC_PATH, str(traced), "inputshape=[1,3,256,256]", "fp16=0")
    return traced


def _open(traced: Path, bfloat16: bool, threads: int) -> Run:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic"):
        setattr(net.opt, f"use_{option}", False)
    net.opt.use_bf16_storage = bfloat16
    net.load_param(str(traced.with_suffix(".ncnn.param")))
    net.load_model(str(traced.with_suffix(".ncnn.bin")))

    def run(images: Images) -> list[Array]:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(images[0]).clone())
            return [np.array(extractor.extract(f"out{i}")[1]) for i in range(4)]

    return run
