"""The words that name a choice; they load nothing, so that the command line can offer them."""

from typing import Literal

__all__ = ["DatasetFormat", "Peer", "Split"]

DatasetFormat = Literal["table", "affectnet", "affectnet-arrays", "afew-va", "aff-wild2"]
Peer = Literal["torch.compile", "openvino", "mnn", "ncnn"]
Split = Literal["test", "val"]
