"""The words that name a choice; they load nothing, so that the command line can offer them."""

from typing import Literal

__all__ = [
    "Backend",
    "Crop",
    "DetectorName",
    "Device",
    "EngineKind",
    "EngineOrAuto",
    "HardwareCompatibility",
    "Interface",
    "Optimize",
    "Precision",
    "Target",
]

Backend = Literal["torch", "onnx", "openvino", "trt", "trt-rtx", "v2"]
EngineOrAuto = Literal["auto", Backend]
EngineKind = Literal["trt", "trt-rtx"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
Target = Literal["gpu", "cpu"]
Optimize = Literal["latency", "throughput"]
HardwareCompatibility = Literal["none", "same", "ampere"]
Interface = Literal["tensor", "image"]
DetectorName = Literal["auto", "centerface", "yunet", "none"]
Crop = Literal["paper", "stretch"]
