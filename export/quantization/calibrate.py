"""Calibration: on which scale each activation is written in 8 bits, judged on sample faces."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor

from emonet_deploy.emonet_ref.storage.path_access import is_dir
from emonet_deploy.emonet_ref.synthetic.faces import CALIBRATION_SEED, crops, make_faces
from emonet_deploy.errors import InputError
from emonet_deploy.export.choices import Calibrator
from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.quantization.channel_extremes import Extremes, channel_extremes
from emonet_deploy.export.quantization.entropy import BINS, entropy_limit
from emonet_deploy.runtime.media.image import read_image
from emonet_deploy.runtime.media.inputs import expand_inputs
from emonet_deploy.runtime.pipeline.preprocess import stretch_face, to_tensor

__all__ = [
    "FEWEST",
    "Calibration",
    "Calibrator",
    "Range",
    "calibration_crops",
    "chunks",
    "observe_ranges",
    "reach",
    "read_crops",
]

PERCENTILE: Final = 99.999
FACES: Final = 128
FEWEST: Final = 8
CROWD: Final = 1000
"""Faces that ``Range.reach`` speaks of."""

SILENT: Final = 0.01
"""Of a channel's largest value: less counts as this much."""

CHUNK: Final = 8
"""Faces that are run at once; bounds the memory."""


@dataclass(frozen=True)
class Calibration:
    """What INT8 is calibrated with."""

    images: NDArray[np.uint8]
    """Face crops, N x 256 x 256 x 3, RGB."""
    source: str
    """Where they come from, for the record: ``procedural`` or a folder."""
    budget: float | None = None
    """Share of the multiply-accumulates that may stay in float; by default the target's."""
    calibrator: Calibrator = "minmax"
    """How an activation's range is chosen; see ``observe_ranges``."""


@dataclass(frozen=True)
class Range:
    """The values of one tensor that 8 bits shall cover."""

    low: float
    high: float
    reach: float = 1.0
    """By what factor a thousand faces are expected to exceed it; 1 where that was not estimated."""

    @property
    def widest(self) -> float:
        """The largest absolute value."""
        return max(-self.low, self.high)


def calibration_crops(
    folder: str | os.PathLike[str] | None, checkpoint: str, limit: int = FACES
) -> NDArray[np.uint8]:
    """Return the faces to calibrate on: uint8, n x 256 x 256 x 3, RGB.

    Args:
        folder: face crops, one a file, found as ``emonet predict`` finds pictures; ``limit`` of
            them are taken, evenly spread over their names. Without one, procedural faces, which
            suit the stand-in alone.
        checkpoint: the weights' identity, as in ``ModelInfo``.
        limit: the most faces to take.

    Raises:
        InputError: original weights without a folder, a folder of too few images, or one that
            cannot be read.
    """
    if folder is None:
        if not checkpoint.startswith("standin"):
            raise InputError(
                "INT8 for trained weights must be calibrated on real face crops; "
                "name a folder of them with --calibration DIR"
            )
        return crops(make_faces(limit, CALIBRATION_SEED))
    return read_crops(folder, limit, "--calibration")


def read_crops(folder: str | os.PathLike[str], limit: int, option: str) -> NDArray[np.uint8]:
    """Read face crops, one a file, evenly spread over their names: n x 256 x 256 x 3, RGB.

    Args:
        folder: searched with the folders in it.
        limit: the most to read.
        option: of the command line that named the folder, for the message.

    Raises:
        InputError: there are too few images, or one cannot be read.
    """
    if not is_dir(folder):
        raise InputError(f"no folder at {os.fspath(folder)}, which {option} names")
    found = expand_inputs([os.fspath(folder)])
    paths = [source.path for source in found if source.problem is None and not source.is_video]
    if len(paths) < FEWEST:
        raise InputError(
            f"{len(paths)} images in {os.fspath(folder)}; {option} takes a folder of at "
            f"least {FEWEST} face crops, better {FACES}"
        )
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(limit, len(paths))).astype(int)]
    return np.stack([stretch_face(read_image(path)) for path in chosen])


def observe_ranges(
    model: onnx.ModelProto,
    images: NDArray[np.uint8],
    tensors: Collection[str],
    calibrator: Calibrator = "minmax",
) -> dict[str, Range]:
    """Measure the range of some tensors of a float32 model over sample faces.

    ``minmax`` covers every value seen and tells how far other faces will reach; ``percentile``
    leaves out the outermost 0.001%, exactly: of a small tensor that is nothing; ``entropy`` leaves
    out what costs least information.
    """
    if calibrator == "percentile":
        return _percentiles(Interpreter(model), images, tensors, 1 - PERCENTILE / 100)
    ranges = {
        name: Range(float(ends.low.min()), float(ends.high.max()), reach(_largest(ends)))
        for name, ends in channel_extremes(model, images, tensors).items()
    }
    if calibrator == "minmax":
        return ranges
    counts = _histograms(Interpreter(model), images, ranges)
    limits = {name: entropy_limit(counts[name], found.widest) for name, found in ranges.items()}
    return {
        name: Range(max(found.low, -limits[name]), min(found.high, limits[name]))
        for name, found in ranges.items()
    }


def _largest(ends: Extremes) -> NDArray[np.float32]:
    return np.maximum(ends.high, -ends.low)


def _percentiles(
    network: Interpreter, images: NDArray[np.uint8], tensors: Collection[str], share: float
) -> dict[str, Range]:
    """Return each tensor's extremes once ``share`` of its values is left out at each end."""
    extremes: dict[str, list[Tensor]] = {}

    def keep(node: NodeProto, _: Sequence[Tensor], output: Tensor) -> Tensor:
        name = node.output[0]
        if name in tensors:
            values = output.flatten()
            total = values.numel() * len(images) // len(output)
            beyond = min(int(total * share) + 1, values.numel())
            ends = [values.topk(beyond).values, -(-values).topk(beyond).values]
            if name in extremes:
                ends = [torch.cat(pair) for pair in zip(extremes[name], ends, strict=True)]
                ends = [ends[0].topk(beyond).values, -(-ends[1]).topk(beyond).values]
            extremes[name] = ends
        return output

    with torch.no_grad():
        for chunk in chunks(images):
            network.run(chunk, keep)
    return {
        name: Range(float(low.max()), float(high.min())) for name, (high, low) in extremes.items()
    }


def reach(largest: NDArray[np.floating]) -> float:
    """Return by what factor the largest of a thousand faces will exceed that of these.

    Faces differ in contrast: their largest values scatter like a log-normal variable.

    Args:
        largest: of each face and channel, faces x channels; of one face nothing follows: 1.0.
    """
    if len(largest) < 2:
        return 1.0
    # A channel that is silent on a face says nothing of contrast.
    floor = np.maximum(SILENT * largest.max(0), 1e-12)
    spread = np.median(np.log(np.maximum(largest, floor), dtype=np.float64).std(0, ddof=1))
    quantile = NormalDist().inv_cdf
    further = quantile(1 - 1 / (CROWD + 1)) - quantile(1 - 1 / (len(largest) + 1))
    return max(1.0, float(np.exp(further * spread)))


def _histograms(
    network: Interpreter, images: NDArray[np.uint8], ranges: Mapping[str, Range]
) -> dict[str, NDArray[np.float64]]:
    """Count each tensor's absolute values in equal bins up to its largest."""
    counts = {name: np.zeros(BINS) for name in ranges}

    def count(node: NodeProto, _: Sequence[Tensor], output: Tensor) -> Tensor:
        name = node.output[0]
        if name in ranges:
            limit = max(ranges[name].widest, 1e-12)
            counts[name] += torch.histc(output.abs(), BINS, 0, limit).double().numpy()
        return output

    with torch.no_grad():
        for chunk in chunks(images):
            network.run(chunk, count)
    return counts


def chunks(images: NDArray[np.uint8]) -> list[Tensor]:
    """Return crops as batches that the network takes."""
    return [
        torch.from_numpy(to_tensor(images[i : i + CHUNK])) for i in range(0, len(images), CHUNK)
    ]
