"""Engines compiled from ONNX by TensorRT and TensorRT-RTX."""
