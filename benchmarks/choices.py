"""The words that name a choice; they load nothing, so that the command line can offer them."""

from typing import Literal

__all__ = ["DatasetFormat", "Peer", "Split"]

DatasetFormat = Literal["table", "affectnet", "affectnet-arrays", "afew-va", "aff-wild2"]
Peer = Literal[
    "torch.compile", "torch.compile-int8", "openvino", "openvino-nncf", "mnn", "mnn-int8",
    "ncnn", "ncnn-bf16", "litert", "onnxruntime-int8",
]  # fmt: skip
Split = Literal["test", "val"]
