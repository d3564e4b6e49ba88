"""Optional packages: what to type when one is missing."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from emonet_deploy.errors import BackendError, MissingDependencyError, one_line

__all__ = ["import_package", "needs"]


@contextmanager
def needs(extra: str, purpose: str) -> Iterator[None]:
    """Turn a failed import inside the block into the command that installs what is missing.

    Args:
        extra: the extra of this distribution that brings the package.
        purpose: completes "is needed to ...".

    Raises:
        MissingDependencyError: a module imported in the block is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise _missing(error, purpose, f"pip install 'emonet-deploy[{extra}]'") from error


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
