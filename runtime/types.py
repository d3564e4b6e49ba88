"""The words that name a choice, and the arrays that travel."""

from typing import Any, Literal

from numpy.typing import NDArray

__all__ = ["Array", "Backend", "Crop", "Device", "Interface", "Precision", "Target"]

Array = NDArray[Any]
Backend = Literal["torch", "onnx", "openvino", "trt", "trt-rtx"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["gpu", "cpu"]
Interface = Literal["tensor", "image"]
Crop = Literal["paper", "stretch"]
