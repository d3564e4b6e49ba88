"""The words that name a choice; they load nothing, so that the command line can offer them."""

from typing import Literal

__all__ = ["Grouping"]

Grouping = Literal["person", "clip", "hour", "folder"]
