"""Make artifacts: ONNX models in three precisions, and TensorRT engines."""
