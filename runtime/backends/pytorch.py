"""The PyTorch reference as a session: what every other backend is measured against."""

import os
from collections.abc import Mapping
from typing import ClassVar, Final, Literal

import torch

from emonet_deploy.emonet_ref.checkpoint import identify_checkpoint, load_checkpoint
from emonet_deploy.emonet_ref.constants import TENSOR_OUTPUTS
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.choices import Backend, Device
from emonet_deploy.runtime.hardware.memory import keep_freed_memory
from emonet_deploy.runtime.metadata import ModelInfo, tensors_of

__all__ = ["LAYOUTS", "TorchSession", "open_session"]

Layout = Literal["contiguous", "channels last"]

LAYOUTS: Final[Mapping[Layout, torch.memory_format]] = {
    "contiguous": torch.contiguous_format,
    "channels last": torch.channels_last,
}
"""How weights and images lie in memory; the first is the default."""


class TorchSession(Session):
    """EmoNet in PyTorch, float32, in inference mode."""

    backend: ClassVar[Backend] = "torch"

    def __init__(
        self,
        model: EmoNet,
        checkpoint: str,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            model: moved to the device and set to eval mode.
            checkpoint: the weights' identity, for the record.
            device: as for ``load_session``.
            threads: PyTorch has one such number for the whole process; each run sets it.

        Raises:
            BackendError: CUDA was asked for and PyTorch has none.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise BackendError(
                "PyTorch sees no CUDA device; use --device cpu, or see `emonet doctor`"
            )
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu":
            keep_freed_memory()
        self._threads = threads
        self._set_threads()
        inputs, outputs = tensors_of(model.nclass, "tensor")
        info = ModelInfo(
            nclass=model.nclass,
            checkpoint=checkpoint,
            inputs=inputs,
            outputs=outputs,
            tools={"torch": torch.__version__},
        )
        super().__init__(info, provider=f"PyTorch {device}", device=device)
        self._model = model.to(device).eval()
        self.layout: Layout = "contiguous"

    def lay_out(self, layout: Layout) -> None:
        """Lay weights and images out in another order; results differ in rounding only.

        Which is faster depends on the machine; ``emonet bench`` tries both.
        """
        self._model.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
        self.layout = layout

    def _set_threads(self) -> None:
        if self._threads not in {None, torch.get_num_threads()}:
            torch.set_num_threads(self._threads)

    def _run(self, images: Array) -> dict[str, Array]:
        self._set_threads()
        # What everything is measured against must not compute in TF32, whose mantissa has 10 bits:
        # PyTorch lets cuDNN do so unless told otherwise.
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=False, allow_tf32=False
            ),
        ):
            given = torch.tensor(images, device=self.device)
            outputs = self._model(given.contiguous(memory_format=LAYOUTS[self.layout]))
        return {
            name: output.cpu().contiguous().numpy()
            for name, output in zip(TENSOR_OUTPUTS, outputs, strict=True)
        }


def open_session(
    path: str | os.PathLike[str], device: Device, threads: int | None, graph: bool | None
) -> TorchSession:
    """Load a checkpoint; see ``load_session``."""
    return TorchSession(load_checkpoint(path), identify_checkpoint(path), device, threads)
