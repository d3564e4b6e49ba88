"""Graph passes: one rewrite of an ONNX graph a file."""
