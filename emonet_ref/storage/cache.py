"""Where the toolkit keeps what it downloads or makes once for every project of a user."""

import os
from pathlib import Path

import platformdirs

__all__ = ["cache_dir"]


def cache_dir() -> Path:
    """Return ``$EMONET_HOME`` when set, otherwise the user's cache folder for the toolkit.

    The folder may not exist yet.
    """
    home = os.environ.get("EMONET_HOME")
    if home:
        return Path(home).expanduser()
    return platformdirs.user_cache_path("emonet-deploy", appauthor=False)
