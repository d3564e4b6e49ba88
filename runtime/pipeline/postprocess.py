"""From what the network puts out to what people read: probabilities and landmarks."""

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.constants import HEATMAP_SIZE, INPUT_SIZE

__all__ = ["decode_heatmaps", "softmax"]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax over the last axis, computed so that large logits do not overflow."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True), logits.dtype)


def decode_heatmaps(heatmap: NDArray[np.float32]) -> NDArray[np.float32]:
    """Read landmarks off their heatmaps, finer than the heatmap's grid.

    Around the highest pixel a parabola is laid through it and its two neighbours, in x and in y;
    its vertex is the landmark, at most half a pixel away. When two neighbouring pixels swap rank
    by rounding, the vertex stays where it is.

    Args:
        heatmap: N x K x 64 x 64.

    Returns:
        N x K x 3, float32: x and y in pixels of the 256 x 256 crop (the centre of its first pixel
        is 0), and the value of the highest heatmap pixel.
    """
    n, k = heatmap.shape[:2]
    flat = heatmap.reshape(n, k, -1)
    peak = flat.argmax(-1)
    row, column = np.divmod(peak, HEATMAP_SIZE)
    top = HEATMAP_SIZE - 1

    def at(y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.float32]:
        index = y.clip(0, top) * HEATMAP_SIZE + x.clip(0, top)
        return np.take_along_axis(flat, index[..., None], -1)[..., 0]

    score = at(row, column)
    x = column + _vertex(at(row, column - 1), score, at(row, column + 1))
    y = row + _vertex(at(row - 1, column), score, at(row + 1, column))
    scale = INPUT_SIZE / HEATMAP_SIZE
    # Heatmap pixel i covers crop pixels 4i to 4i + 3.
    crop = [(position + 0.5) * scale - 0.5 for position in (x, y)]
    return np.stack([*crop, score], -1).astype(np.float32)


def _vertex(
    before: NDArray[np.float32], peak: NDArray[np.float32], after: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Offset of a parabola's vertex from its highest of three samples, within half a step."""
    bend = np.maximum(2 * peak - before - after, np.finfo(np.float32).tiny)
    return np.asarray(((after - before) / (2 * bend)).clip(-0.5, 0.5), np.float32)
