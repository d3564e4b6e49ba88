"""EmoNet in production: ONNX export, TensorRT engines, one runtime, and proof that they agree.

What most programs need is here; each name is imported from its folder when it is first used, so
that ``import emonet_deploy`` costs nothing.
"""

import importlib
import logging
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from emonet_deploy.export.onnx import export_onnx
    from emonet_deploy.runtime.backends.registry import load_session
    from emonet_deploy.runtime.pipeline.pipeline import EmotionPipeline
    from emonet_deploy.runtime.pipeline.predictor import Predictor

__all__ = ["EmotionPipeline", "Predictor", "__version__", "export_onnx", "load_session"]

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # who wants to read it says so

# From 1.30 on, ONNX Runtime writes an identifier of the device into the user's cache and sends what
# it runs to its makers, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_LAZY: Final = {
    "EmotionPipeline": "emonet_deploy.runtime.pipeline.pipeline",
    "Predictor": "emonet_deploy.runtime.pipeline.predictor",
    "export_onnx": "emonet_deploy.export.onnx",
    "load_session": "emonet_deploy.runtime.backends.registry",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
