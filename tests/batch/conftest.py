"""What runs are made of."""

import cv2
import pytest
from helpers.tiny_model import write_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five pictures, a clip, a damaged picture; and a model."""
    folder = tmp_path_factory.mktemp("batch")
    (folder / "in").mkdir()
    write_tiny(folder / "tiny.onnx", seed=3)
    clip = cv2.VideoWriter(
        str(folder / "in" / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (96, 96)
    )
    for i in range(5):
        picture = cv2.applyColorMap(
            cv2.resize(cv2.getGaussianKernel(96, 10 + 9 * i) * 4000, (96, 96)).astype("uint8"), i
        )
        cv2.imwrite(str(folder / "in" / f"p{i}.png"), picture)
        clip.write(picture)
    clip.release()
    whole = (folder / "in" / "p0.png").read_bytes()
    (folder / "in" / "bad.png").write_bytes(whole[: len(whole) // 2])
    return folder
