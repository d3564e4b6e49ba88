"""The engine of a model for this machine: the one that is there when it fits, else a new one."""

import logging
from collections.abc import Callable
from pathlib import Path

from emonet_deploy.errors import ArtifactError
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.export.tensorrt.options import BuildOptions, engine_name
from emonet_deploy.runtime.backends.tensorrt.compatibility import check_engine
from emonet_deploy.runtime.backends.tensorrt.library import EngineKind, import_tensorrt
from emonet_deploy.runtime.choices import Optimize
from emonet_deploy.runtime.hardware.gpu import cuda_device
from emonet_deploy.runtime.metadata import read_info

__all__ = ["fitting_engine"]

_LOGGER = logging.getLogger(__name__)


def fitting_engine(
    model: Path,
    kind: EngineKind,
    say: Callable[[str], None],
    optimize: Optimize = "throughput",
) -> Path:
    """Return an engine of a model, beside it, that runs here; it is built when there is none.

    Args:
        model: an ONNX model.
        kind: of the engine.
        say: told that one is built.
        optimize: whether it is run with one face at once or with many.

    Raises:
        ExportError: it could not be built; see ``build_engine`` for the rest.
    """
    gpu = cuda_device()
    options = BuildOptions(optimize=optimize)
    name = engine_name(model, options, gpu if kind == "trt" else None)
    path = model.parent / name
    try:
        check_engine(path, read_info(path), import_tensorrt(kind).__version__, gpu)
    except ArtifactError:
        say(f"no {path} that fits this machine and its model yet; building it")
        return build_engine(model, path, kind, options).path
    _LOGGER.info("%s fits this machine and its model", path)
    return path
