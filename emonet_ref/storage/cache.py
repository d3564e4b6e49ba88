"""Where the toolkit keeps what it downloads or makes once for every project of a user."""

import os
from pathlib import Path
from typing import Final

import platformdirs

from emonet_deploy.errors import InputError

__all__ = ["CACHE_ADVICE", "cache_dir"]

CACHE_ADVICE: Final = "free some space, or name another folder in the variable EMONET_HOME"
"""What to do where the cache cannot be written."""


def cache_dir() -> Path:
    """Return ``$EMONET_HOME`` when set, otherwise the user's cache folder for the toolkit.

    The folder may not exist yet.

    Raises:
        InputError: the variable names the home of an unknown user, or the user has no home.
    """
    named = os.environ.get("EMONET_HOME")
    if named:
        try:
            return Path(named).expanduser()
        except RuntimeError as error:
            raise InputError(
                f"EMONET_HOME is {named}, and that user has no home folder; name another folder"
            ) from error
    path = platformdirs.user_cache_path("emonet-deploy", appauthor=False)
    if not path.is_absolute():  # a user without a home, as in some containers
        raise InputError("this user has no home folder; name one in the variable EMONET_HOME")
    return path
