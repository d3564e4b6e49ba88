"""Reading, changing, naming and running ONNX graphs."""
