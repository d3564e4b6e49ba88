"""Annotated pictures: box, label, landmarks, and where each face is in valence and arousal."""

from collections import deque
from dataclasses import replace
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.runtime.detection.base import Box
from emonet_deploy.runtime.output.label_layout import Layout, Spot
from emonet_deploy.runtime.output.palette import Color, identity_color
from emonet_deploy.runtime.pipeline.pipeline import FaceResult, FrameResult

__all__ = ["Annotator", "enlarged"]

Image = NDArray[np.uint8]

_DARK: Final[Color] = (24, 24, 24)
_LIGHT: Final[Color] = (236, 236, 236)
_FAR: Final = 30_000  # Pixels; OpenCV cannot draw much further out.
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


class Annotator:
    """Draws results onto copies of their frames; remembers trails from frame to frame."""

    def __init__(self, *, landmarks: bool = True, trail: float = 1.5) -> None:
        """Choose what is drawn.

        Args:
            landmarks: whether the 68 points are.
            trail: for how many seconds the circumplex shows where a face came from.
        """
        self._landmarks, self._trail = landmarks, trail
        self._source = ""
        self._paths: dict[int, deque[tuple[float, float, float]]] = {}

    def draw(self, result: FrameResult) -> Image:
        """Return an annotated copy of the frame, uint8 H x W x 3, RGB."""
        if result.frame.source != self._source:
            self._source, self._paths = result.frame.source, {}
        canvas = result.frame.image.copy()
        # Everything scales with the frame, within what is legible.
        unit = float(np.clip(min(canvas.shape[:2]) / 360, 0.75, 6.0))
        self._remember(result)
        boxes = [_drawable(face.box) for face in result.faces]
        for face, box in zip(result.faces, boxes, strict=True):
            _draw_box(canvas, box, identity_color(face.identity), unit)
            if self._landmarks:
                _draw_landmarks(canvas, face, unit)
        height, width = canvas.shape[:2]
        layout = Layout(width, height, boxes)
        # Labels first: they say all that the discs show.
        for face, box in zip(result.faces, boxes, strict=True):
            _draw_label(canvas, face, box, layout, unit)
        for face, box in zip(result.faces, boxes, strict=True):
            path = [(v, a) for _, v, a in self._paths.get(face.identity, ())]
            _draw_circumplex(canvas, face, box, layout, path, unit)
        return canvas

    def _remember(self, result: FrameResult) -> None:
        now = result.frame.time
        if now is None:
            return
        for face in result.faces:
            path = self._paths.setdefault(face.identity, deque())
            path.append((now, face.prediction.valence, face.prediction.arousal))
        for identity, path in list(self._paths.items()):
            while path and now - path[0][0] > self._trail:
                path.popleft()
            if not path:
                del self._paths[identity]


def enlarged(result: FrameResult, shortest: int = 320, longest: int = 2000) -> FrameResult:
    """Return the result of a small still picture as if the picture were larger.

    So that labels are legible on a face crop of 64 pixels: by the least whole factor that brings
    the shorter side to ``shortest`` pixels without bringing the longer one over ``longest``.
    """
    height, width = result.frame.image.shape[:2]
    factor = min(-(-shortest // min(height, width)), longest // max(height, width))
    if factor < 2:
        return result
    image = cv2.resize(
        result.frame.image, (width * factor, height * factor), interpolation=cv2.INTER_CUBIC
    )
    return FrameResult(
        replace(result.frame, image=np.asarray(image, np.uint8)),
        tuple(_scaled(face, factor) for face in result.faces),
    )


def _scaled(face: FaceResult, factor: int) -> FaceResult:
    x0, y0, x1, y1 = (side * factor for side in face.box)
    points = face.prediction.landmarks.copy()
    points[:, :2] = (points[:, :2] + 0.5) * factor - 0.5
    return replace(
        face, box=(x0, y0, x1, y1), prediction=replace(face.prediction, landmarks=points)
    )


def _draw_box(canvas: Image, box: Box, color: Color, unit: float) -> None:
    x0, y0, x1, y1 = (round(side) for side in box)
    # A dark rim under the colour shows on any background.
    for ink, width in ((_DARK, round(3 * unit) + 1), (color, max(1, round(1.5 * unit)))):
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), ink, width, cv2.LINE_AA)


def _draw_landmarks(canvas: Image, face: FaceResult, unit: float) -> None:
    side = min(face.box[2] - face.box[0], face.box[3] - face.box[1])
    if side < 48:  # The points would hide the face.
        return
    radius = max(1, round(min(side / 100, unit)))
    for x, y, _ in face.prediction.landmarks.tolist():
        cv2.circle(canvas, (round(x), round(y)), radius, _LIGHT, -1, cv2.LINE_AA)


def _drawable(box: Box) -> Box:
    """Return a box within what OpenCV can draw."""
    x0, y0, x1, y1 = np.clip(box, -_FAR, _FAR).tolist()
    return x0, y0, x1, y1


def _draw_label(canvas: Image, face: FaceResult, box: Box, layout: Layout, unit: float) -> None:
    color = identity_color(face.identity)
    scale, weight, pad = 0.5 * unit, max(1, round(1.2 * unit)), round(3 * unit)
    lines, down, spot = _placed(face, box, layout, scale, weight, pad)
    left, top, right, bottom = spot
    x0, y0, x1, y1 = box
    # The nearest points of label and box; where they are apart, a line joins them.
    start = (round(np.clip((x0 + x1) / 2, left, right)), round(np.clip((y0 + y1) / 2, top, bottom)))
    end = (round(np.clip(start[0], x0, x1)), round(np.clip(start[1], y0, y1)))
    if start != end:
        cv2.line(canvas, start, end, color, max(1, round(unit)), cv2.LINE_AA)
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), color, -1)
    bright = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] > 110
    for row, text in enumerate(lines):
        at = (left + pad, top + row * (down + 2 * pad) + down + pad)
        cv2.putText(
            canvas, text, at, _FONT, scale, _DARK if bright else _LIGHT, weight, cv2.LINE_AA
        )


def _placed(
    face: FaceResult, box: Box, layout: Layout, scale: float, weight: int, pad: int
) -> tuple[list[str], int, Spot]:
    """Return the fullest label there is room for, the height of its letters, and its place."""
    said = face.prediction
    first = f"{face.identity} {said.expression} {100 * said.probabilities[said.expression]:.0f}%"
    labels = (
        [first, f"V{said.valence:+.2f} A{said.arousal:+.2f}"],
        [first],
        [f"{face.identity} {said.expression}"],
        [f"{face.identity} {said.expression[:3]}"],
    )
    for lines in labels:
        sizes = [cv2.getTextSize(text, _FONT, scale, weight)[0] for text in lines]
        down = max(size[1] for size in sizes)
        width = max(size[0] for size in sizes) + 2 * pad
        height = len(lines) * (down + 2 * pad)
        # Two lines beside a small face would hide its neighbours.
        if len(lines) > 1 and width > 2 * (box[2] - box[0]) + 2 * pad:
            continue
        above = (box[0], box[1] - height)
        spot = layout.take(width, height, box, above, away=3.0 * height)
        if spot is not None:
            return lines, down, spot
    # The shortest: anywhere, and where all is full of faces, on the face's own hair.
    spot = layout.take(width, height, box, above)
    if spot is None:
        (across, down), _ = cv2.getTextSize(first, _FONT, scale, weight)
        if across + 2 * pad <= box[2] - box[0]:
            lines, width, height = [first], across + 2 * pad, down + 2 * pad
        spot = layout.take_inside(width, height, box)
    return lines, down, spot


def _draw_circumplex(
    canvas: Image,
    face: FaceResult,
    box: Box,
    layout: Layout,
    path: list[tuple[float, float]],
    unit: float,
) -> None:
    """Draw valence and arousal as a place in a disc; where there is no room, nothing is drawn."""
    color = identity_color(face.identity)
    gap = round(4 * unit)
    spot = None
    for share in (0.25, 0.18, 0.12):
        radius = round(np.clip(share * (box[3] - box[1]), 14 * unit, 60 * unit))
        span = 2 * radius + 2 * gap
        # Beside the lower end of the face, else at the nearest place.
        spot = layout.take(span, span, box, (box[2], box[3] - span), away=span)
        if spot is not None:
            break
    if spot is None:
        return
    left, top = spot[:2]
    centre = (left + gap + radius, top + gap + radius)

    here = canvas[top : top + span, left : left + span]
    shaded = here.copy()
    cv2.circle(shaded, (gap + radius, gap + radius), radius, _DARK, -1, cv2.LINE_AA)
    here[:] = cv2.addWeighted(shaded, 0.7, here, 0.3, 0)
    thin = max(1, round(unit))
    for step in ((radius, 0), (0, radius)):
        start = (centre[0] - step[0], centre[1] - step[1])
        end = (centre[0] + step[0], centre[1] + step[1])
        cv2.line(canvas, start, end, (120, 120, 120), thin, cv2.LINE_AA)
    cv2.circle(canvas, centre, radius, _LIGHT, thin, cv2.LINE_AA)
    said = face.prediction
    points = [_place(v, a, centre, radius) for v, a in (*path, (said.valence, said.arousal))]
    for index, (start, end) in enumerate(pairwise(points)):
        fade = 0.25 + 0.75 * (index + 1) / len(points)
        ink = (int(color[0] * fade), int(color[1] * fade), int(color[2] * fade))
        cv2.line(canvas, start, end, ink, max(1, round(1.5 * unit)), cv2.LINE_AA)
    cv2.circle(canvas, points[-1], max(2, round(3.5 * unit)), _LIGHT, -1, cv2.LINE_AA)
    cv2.circle(canvas, points[-1], max(1, round(2.5 * unit)), color, -1, cv2.LINE_AA)


def _place(valence: float, arousal: float, centre: tuple[int, int], radius: int) -> tuple[int, int]:
    """Return the pixel of (valence, arousal): right is pleasant, up is intense."""
    # Corners of the square [-1, 1] x [-1, 1] are drawn on the rim.
    size = max(1.0, float(np.hypot(valence, arousal)))
    return (
        round(centre[0] + radius * valence / size),
        round(centre[1] - radius * arousal / size),
    )
