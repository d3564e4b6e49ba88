"""EmoNet in production: ONNX export, TensorRT engines, one runtime, and proof that they agree."""

import logging

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # who wants to read it says so
