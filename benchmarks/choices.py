"""The words that name a choice; they load nothing, so that the command line can offer them."""

from typing import Literal

__all__ = ["Peer", "Split"]

Peer = Literal["torch.compile", "openvino", "mnn", "ncnn"]
Split = Literal["test", "val"]
