"""Optional packages: what to type when one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from emonet_deploy.errors import MissingDependencyError

__all__ = ["needs"]


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
        package = (error.name or "a package").partition(".")[0]
        raise MissingDependencyError(
            f"{package} is not installed and is needed to {purpose}; "
            f"pip install 'emonet-deploy[{extra}]'"
        ) from error
