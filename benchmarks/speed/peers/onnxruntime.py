"""ONNX Runtime's own post-training quantisation, ``quantize_static``, as its guide has it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from emonet_deploy.benchmarks.speed.peers.source import Images, Open, Run, Source
from emonet_deploy.emonet_ref.constants import TENSOR_OUTPUTS
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.int8_overflow import VNNI
from emonet_deploy.runtime.backends.onnxruntime import cpu_session
from emonet_deploy.runtime.hardware.cpu import processor

__all__ = ["quantized"]


def quantized(source: Source) -> Open:
    """In QDQ form: weights in int8 with a scale for each channel, activations in uint8, MinMax.

    Weights have 7 bits where the processor lacks VNNI, whose sums of 16 bits would overflow.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, made = source.folder / "prepared.onnx", source.folder / "int8.onnx"
    with _quiet():
        # Folds the norms that follow a convolution; shapes need no symbols, since all are known.
        quant_pre_process(str(source.plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(made),
            _Reader(source),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=VNNI.isdisjoint(processor()[1]),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibration_providers=["CPUExecutionProvider"],
        )
    return partial(_open, made.read_bytes())


class _Reader:
    """The faces as a ``CalibrationDataReader``, which is told by its methods."""

    def __init__(self, source: Source) -> None:
        self._faces = source.faces()

    def get_next(self) -> dict[str, Images] | None:
        face = next(self._faces, None)
        return None if face is None else {"image": face}


def _open(model: bytes, threads: int) -> Run:
    session = cpu_session(model, threads)

    def run(images: Images) -> list[Array]:
        found: Any = session.run(list(TENSOR_OUTPUTS), {"image": images})
        return list(found)

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the warning it has for each norm that it leaves as it is."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
