"""What a peer is made from, and what becomes of it."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.array_type import Array

__all__ = ["Images", "Open", "Run", "Source", "convert"]

Images = NDArray[np.float32]
Run = Callable[[Images], Sequence[Array]]
"""From one image, 1 x 3 x 256 x 256, to the four outputs of the ``tensor`` interface."""
Open = Callable[[int], Run]
"""Load what was converted, to run on so many threads."""


@dataclass(frozen=True)
class Source:
    """The reference, as each peer's converter may want it.

    Attributes:
        model: its network.
        plain: its float32 ONNX model as it is, not rewritten for CPUs.
        calibration: faces for those that quantise, N x 3 x 256 x 256; of others it may be empty.
        folder: for what converters write.
    """

    model: EmoNet
    plain: Path
    calibration: Images
    folder: Path

    def faces(self) -> Iterator[Images]:
        """Give the faces one by one, as images of a batch of one."""
        return (self.calibration[i : i + 1] for i in range(len(self.calibration)))


def convert(*command: str) -> None:
    """Run a converter.

    Raises:
        BackendError: it failed; with its last line.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"converting the model failed: {last}")
