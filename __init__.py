"""EmoNet in production: ONNX export, TensorRT engines, one runtime, and proof that they agree."""

__version__ = "0.1.0"
