"""Drawn faces with the landmarks that are known of them, and proof that the decoder finds them.

Heatmaps with a peak where each landmark truly is go through the toolkit's own decoder: what comes
back differs by the grid of 64 x 64 only. A picture shows the faces and both sets of points.
"""

import sys
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.constants import CLASS_NAMES, HEATMAP_SIZE, INPUT_SIZE
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.synthetic.faces import Face, make_faces
from emonet_deploy.runtime.pipeline.postprocess import decode_heatmaps

__all__ = ["decoded", "heatmaps"]

_SPREAD: Final = 1.0  # Pixels of the heatmap.


def heatmaps(face: Face) -> NDArray[np.float32]:
    """Return heatmaps, 1 x 68 x 64 x 64, whose peaks are the face's true landmarks."""
    x, y = ((face.landmarks + 0.5) * HEATMAP_SIZE / INPUT_SIZE - 0.5).T
    grid = np.arange(HEATMAP_SIZE)
    across = np.exp(-((grid - x[:, None]) ** 2) / (2 * _SPREAD**2))
    down = np.exp(-((grid - y[:, None]) ** 2) / (2 * _SPREAD**2))
    return (down[:, :, None] * across[:, None, :])[None].astype(np.float32)


def decoded(face: Face) -> NDArray[np.float32]:
    """Return the landmarks that the toolkit reads from those heatmaps, 68 x 2, in pixels."""
    landmarks: NDArray[np.float32] = decode_heatmaps(heatmaps(face))[0, :, :2]
    return landmarks


def main(path: str) -> None:
    """Print the error for each face, and write the picture."""
    pictures = []
    for face in make_faces(8, seed=11):
        found = decoded(face)
        error = np.linalg.norm(found - face.landmarks, axis=1)
        print(
            f"{CLASS_NAMES[8][face.expression]}\tvalence {face.valence:+.2f}\tarousal "
            f"{face.arousal:+.2f}\tlandmarks off by {error.mean():.2f} pixels of {INPUT_SIZE}"
        )
        picture = face.image[..., ::-1].copy()
        for true, read in zip(face.landmarks, found, strict=True):
            cv2.circle(picture, tuple(map(round, true)), 2, (80, 220, 80), -1, cv2.LINE_AA)
            cv2.circle(picture, tuple(map(round, map(float, read))), 4, (40, 40, 230), 1)
        pictures.append(picture)
    rows = [np.hstack(pictures[:4]), np.hstack(pictures[4:])]
    with atomic_write(Path(path)) as temporary:
        cv2.imwrite(str(temporary), np.vstack(rows))
    print(path)


if __name__ == "__main__":
    main(sys.argv[1])
