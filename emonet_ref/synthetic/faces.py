"""Procedural faces: pictures whose landmarks are known exactly, free for anyone to use.

The emotion shows in the geometry (``synthetic.geometry``); everything else (skin, hair, pose,
light, background, noise) is drawn at random, from a NumPy generator, so that a seed names a
picture.

The toolkit uses three sets: faces that measure the stand-in's statistics (``STANDIN_SEED``), faces
that calibrate INT8 (``CALIBRATION_SEED``) and faces that judge an artifact (``PARITY_SEED``).
The seeds differ and each face is drawn from its own child of the seed, so that the sets never
overlap, whatever their sizes, and a longer set begins with the shorter one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.constants import CLASS_NAMES, INPUT_SIZE
from emonet_deploy.emonet_ref.synthetic.geometry import (
    Points,
    Pose,
    Proportions,
    landmarks_68,
    place,
)

__all__ = [
    "CALIBRATION_SEED",
    "PARITY_SEED",
    "STANDIN_SEED",
    "Face",
    "crops",
    "draw_face",
    "make_faces",
]

STANDIN_SEED: Final = 240
CALIBRATION_SEED: Final = 241
PARITY_SEED: Final = 242

Image = NDArray[np.uint8]
Color = tuple[float, float, float]

CROP_SCALE: Final = 200 / 110
"""Side of AffectNet's crop over the mean side of the landmarks' box (the paper's protocol)."""

MIN_SIZE: Final = 32

# Where each emotion lies around (valence, arousal) = (0, 0): angle in degrees from positive
# valence towards positive arousal, and distance. All of it passes the paper's cleaning rules.
REGIONS: Final = (
    ((0, 360), (0.0, 0.18)),
    ((-35, 55), (0.3, 0.9)),
    ((160, 235), (0.3, 0.9)),
    ((35, 125), (0.3, 0.9)),
    ((105, 170), (0.3, 0.9)),
    ((130, 195), (0.4, 0.9)),
    ((100, 165), (0.3, 0.9)),
    ((125, 215), (0.3, 0.8)),
)

SKINS: Final = ((255, 222, 198), (241, 194, 160), (224, 172, 130), (187, 130, 92), (110, 72, 50))
HAIRS: Final = ((28, 22, 20), (60, 38, 24), (110, 72, 40), (190, 150, 90), (150, 148, 146))
IRISES: Final = ((70, 42, 22), (96, 66, 34), (60, 96, 120), (70, 100, 62))

SHIFT_BITS: Final = 4
"""OpenCV draws polygons on a grid of 1/16 pixel."""


@dataclass(frozen=True)
class Face:
    """A drawn face and what is true of it."""

    image: Image
    """RGB, size x size x 3, uint8."""
    landmarks: Points
    """68 x 2, x then y, in pixels of the image, iBUG order, float64."""
    expression: int
    """0-7, as in ``CLASS_NAMES[8]``."""
    valence: float
    arousal: float


@dataclass(frozen=True)
class _Look:
    """What a person looks like apart from geometry; colours are RGB, 0-255."""

    skin: Color
    hair: Color
    iris: Color
    lips: Color
    clothes: Color
    long_hair: bool
    hair_line: float


def draw_face(
    expression: int,
    valence: float,
    arousal: float,
    rng: np.random.Generator,
    size: int = INPUT_SIZE,
) -> Face:
    """Draw a face the way EmoNet's training crops show one: landmarks over about 55% of the side.

    For the same state of ``rng`` and the same size the result is the same; person, pose and light
    do not depend on the emotion, so that a face can be moved through emotions.

    Args:
        expression: 0-7, as in ``CLASS_NAMES[8]``.
        valence: in [-1, 1].
        arousal: in [-1, 1].
        rng: the source of everything else.
        size: width and height in pixels, at least 32.

    Raises:
        ValueError: an argument lies outside its range.
    """
    if not 0 <= expression < len(CLASS_NAMES[8]):
        raise ValueError(f"expression must be 0-7, not {expression}")
    if not (abs(valence) <= 1 and abs(arousal) <= 1):
        raise ValueError(f"valence and arousal must lie in [-1, 1], not ({valence}, {arousal})")
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE} pixels, not {size}")

    proportions = Proportions(*rng.uniform(0.9, 1.1, 6))
    look = _random_look(rng)
    angles = Pose(*(rng.uniform(-1, 1, 3) * (0.22, 0.12, 0.2)))
    zoom, shift = rng.uniform(0.94, 1.06), rng.uniform(-0.03, 0.03, 2)
    canvas = _background(rng, size)
    light, tint = _light(rng, size)

    front = landmarks_68(expression, valence, arousal, proportions)
    pose = _fit(front, angles, zoom, shift, size)
    landmarks = place(front, pose)
    _draw_head(canvas, front, look, pose)
    gain = _shading(front, pose, size) * light
    image = _camera(canvas * gain[..., None] * tint, rng)
    return Face(image, landmarks, expression, float(valence), float(arousal))


def make_faces(n: int, seed: int) -> list[Face]:
    """Draw ``n`` faces of 256 x 256: emotions in turn, valence and arousal plausible for each.

    Every face passes the rules by which the paper cleans AffectNet's samples.
    """
    return [_random_face(i, np.random.default_rng((seed, i))) for i in range(n)]


def crops(faces: Sequence[Face]) -> Image:
    """Stack the pictures of faces of one size: uint8, n x 256 x 256 x 3 for ``make_faces``."""
    return np.stack([face.image for face in faces])


def _random_face(index: int, rng: np.random.Generator) -> Face:
    expression = index % len(REGIONS)
    angles, distances = REGIONS[expression]
    angle, distance = np.deg2rad(rng.uniform(*angles)), rng.uniform(*distances)
    return draw_face(expression, distance * np.cos(angle), distance * np.sin(angle), rng)


def _random_look(rng: np.random.Generator) -> _Look:
    skin = _between(SKINS, rng.uniform(0, len(SKINS) - 1))
    lips = skin * (0.86, 0.62, 0.62)
    return _Look(
        skin=_color(skin),
        hair=_color(_between(HAIRS, rng.uniform(0, len(HAIRS) - 1))),
        iris=_color(_between(IRISES, rng.uniform(0, len(IRISES) - 1))),
        lips=_color(lips),
        clothes=_color(rng.uniform(20, 220, 3)),
        long_hair=bool(rng.random() < 0.5),
        hair_line=rng.uniform(-0.95, -0.75),
    )


def _between(colors: Sequence[Color], position: float) -> Points:
    low = min(int(position), len(colors) - 2)
    part = position - low
    return np.asarray(colors[low]) * (1 - part) + np.asarray(colors[low + 1]) * part


def _color(values: Points) -> Color:
    r, g, b = (float(np.clip(v, 0, 255)) for v in values)
    return r, g, b


def _darker(color: Color, factor: float) -> Color:
    return _color(np.asarray(color) * factor)


def _fit(front: Points, angles: Pose, zoom: float, shift: Points, size: int) -> Pose:
    """Choose scale and shift so that the protocol's crop around the landmarks is the picture."""
    flat = place(front, angles)
    low, high = flat.min(0), flat.max(0)
    scale = zoom * size / CROP_SCALE / (high - low).mean()
    x, y = size * (0.5 + shift) - scale * (low + high) / 2
    return Pose(angles.yaw, angles.pitch, angles.roll, scale, (x, y))


def _background(rng: np.random.Generator, size: int) -> Image:
    coarse = rng.uniform(20, 180) + rng.uniform(0, 70, (4, 4, 3))
    smooth = cv2.resize(coarse.astype(np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.uint8)


def _light(rng: np.random.Generator, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a gain for each pixel (a lamp at one side) and one for each channel (its warmth)."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.35)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    across = np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None]
    tint = rng.uniform(0.94, 1.06, 3) * rng.uniform(0.7, 1.0)
    return np.asarray(1 + strength * across, np.float32), tint.astype(np.float32)


def _camera(picture: NDArray[np.float32], rng: np.random.Generator) -> Image:
    """Add the camera's blur and noise."""
    size = picture.shape[0]
    sigma = rng.uniform(0.2, 0.9) * size / INPUT_SIZE
    noise = rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(1, 6))
    blurred = cv2.GaussianBlur(picture, (0, 0), max(sigma, 0.1))
    return np.asarray(np.clip(np.rint(blurred + noise), 0, 255), np.uint8)


# Drawing: everything below is in face units and goes through `place`, as the landmarks do.


def _draw_head(canvas: Image, front: Points, look: _Look, pose: Pose) -> None:
    jaw = front[:17]
    chin = float(jaw[8, 1])
    if look.long_hair:
        _fill(canvas, _ellipse((0, 0.15), (1.25, 1.5)), _darker(look.hair, 0.8), pose)
    neck = np.array([(-0.55, 0.8), (0.55, 0.8), (0.62, chin + 0.6), (1.9, chin + 1.0), (2.2, 4)])
    neck = np.concatenate((neck, neck[::-1] * (-1, 1)))
    _fill(canvas, neck[[0, 1, 2, 7]], _darker(look.skin, 0.82), pose)
    _fill(canvas, neck[[2, 3, 4, 5, 6, 7]], look.clothes, pose)
    for side in (-1, 1):
        _fill(canvas, _ellipse((1.03 * side, 0.2), (0.13, 0.28)), _darker(look.skin, 0.85), pose)

    _fill(canvas, _ellipse((0, -0.25), (1.14, 1.08)), look.hair, pose)
    angle = np.linspace(0, np.pi, 15)[1:-1]
    forehead = np.stack((np.cos(angle), look.hair_line * np.sin(angle) ** 0.6), 1)
    _fill(canvas, np.concatenate((jaw, forehead)), look.skin, pose)

    for brow in (front[17:22], front[22:27]):
        _line(canvas, _smooth(brow), 0.07, _darker(look.hair, 0.7), pose)
    for eye in (front[36:42], front[42:48]):
        _draw_eye(canvas, eye, look, pose)
    _draw_nose(canvas, front[27:36], look, pose)
    _draw_mouth(canvas, front[48:68], look, pose)


def _draw_eye(canvas: Image, eye: Points, look: _Look, pose: Pose) -> None:
    outline = _smooth(eye, closed=True)
    centre = eye.mean(0)
    ball = canvas.copy()
    _fill(ball, outline, (232, 228, 224), pose)
    _fill(ball, _ellipse(centre, (0.115, 0.115)), look.iris, pose)
    _fill(ball, _ellipse(centre, (0.045, 0.045)), (12, 10, 10), pose)
    _fill(ball, _ellipse(centre + np.array((0.03, -0.035)), (0.018, 0.018)), (250, 250, 250), pose)
    inside = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(inside, [_pixels(outline, pose)], 255, cv2.LINE_AA, SHIFT_BITS)
    left, top, width, height = cv2.boundingRect(inside)
    box = (slice(top, top + height), slice(left, left + width))
    alpha = inside[box][..., None].astype(np.uint16)
    canvas[box] = (ball[box] * alpha + canvas[box] * (255 - alpha)) // 255
    # Lids: the upper one with lashes, the lower one faint.
    dark = _darker(look.skin, 0.3)
    upper, lower = eye[:4], eye[[3, 4, 5, 0]]
    _line(canvas, _smooth(upper), 0.035, dark, pose)
    _line(canvas, _smooth(lower), 0.015, _darker(look.skin, 0.6), pose)
    _line(canvas, _smooth(upper - np.array((0, 0.07))), 0.015, _darker(look.skin, 0.7), pose)


def _draw_nose(canvas: Image, nose: Points, look: _Look, pose: Pose) -> None:
    for side in (-1, 1):
        wing = nose[4] if side < 0 else nose[8]
        nostril = nose[6] + (0.11 * side, -0.035)
        _fill(canvas, _ellipse(nostril, (0.055, 0.03)), _darker(look.skin, 0.4), pose)
        curve = wing + np.array([(0.0, -0.14), (0.04 * side, -0.06), (0.0, 0.02)])
        _line(canvas, _smooth(curve), 0.02, _darker(look.skin, 0.68), pose)


def _draw_mouth(canvas: Image, mouth: Points, look: _Look, pose: Pose) -> None:
    outer, inner = _smooth(mouth[:12], closed=True), _smooth(mouth[12:], closed=True)
    _fill(canvas, outer, look.lips, pose)
    _fill(canvas, inner, (60, 22, 24), pose)
    gap = float(mouth[18, 1] - mouth[14, 1])
    if gap > 0.05:
        edge = _smooth(mouth[12:17])
        drop = min(0.5 * gap, 0.09) * np.sin(np.linspace(0, np.pi, len(edge))) ** 0.5
        teeth = np.concatenate((edge, (edge + np.stack((0 * drop, drop), 1))[::-1]))
        _fill(canvas, teeth, (214, 206, 196), pose)
    seam = np.concatenate((mouth[:1], mouth[12:17], mouth[6:7]))
    _line(canvas, _smooth(seam), 0.018, _darker(look.lips, 0.45), pose)


def _shading(front: Points, pose: Pose, size: int) -> NDArray[np.float32]:
    """Return a gain for each pixel: hollows of a face darker, what faces the viewer lighter."""
    shade = np.full((size, size), 128, np.uint8)
    jaw = front[:17]
    chin = float(jaw[8, 1])

    def tone(points: Points, value: int) -> None:
        cv2.fillPoly(shade, [_pixels(points, pose)], value, cv2.LINE_AA, SHIFT_BITS)

    tone(_ellipse((0, chin + 0.1), (0.5, 0.2)), 108)
    tone(np.concatenate((jaw, _ellipse((0, 0), (1, 0.9))[13:24])), 116)
    tone(_ellipse((0, 0.35), (0.80, 1.05)), 136)
    for side, eye in ((-1, front[36:42]), (1, front[42:48])):
        tone(_ellipse(eye.mean(0) - np.array((0, 0.05)), (0.27, 0.17)), 104)
        tone(_ellipse((0.52 * side, 0.48), (0.2, 0.15)), 145)
        tone(_ellipse((0.14 * side, 0.35), (0.05, 0.3)), 112)
    tone(_ellipse((0, 0.3), (0.06, 0.4)), 158)
    tone(_ellipse((0, -0.55), (0.4, 0.15)), 142)
    tone(_ellipse(front[33] + (0, 0.05), (0.2, 0.05)), 92)
    tone(_ellipse(front[57] + (0, 0.07), (0.22, 0.05)), 100)
    soft = cv2.GaussianBlur(shade, (0, 0), 0.07 * pose.scale)
    # Eight bits around 128 say how light; here they become a gain around 1 of fuller contrast.
    return np.maximum(1 + (np.asarray(soft, np.float32) - 128) / 50, 0.1)


def _ellipse(centre: Points | tuple[float, float], radii: tuple[float, float]) -> Points:
    angle = np.linspace(0, 2 * np.pi, 25)[:-1]
    return np.asarray(centre) + np.stack((np.cos(angle), np.sin(angle)), 1) * radii


def _smooth(points: Points, closed: bool = False) -> Points:
    """Run a Catmull-Rom spline through points, so that curves pass through the landmarks."""
    if closed:
        padded = np.concatenate((points[-1:], points, points[:2]))
    else:
        padded = np.concatenate((points[:1], points, points[-1:]))
    before, start, end, after = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, 4, endpoint=False)[None, :, None]
    curve = start + 0.5 * t * (
        end
        - before
        + t * (2 * before - 5 * start + 4 * end - after + t * (3 * (start - end) + after - before))
    )
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate((curve, points[-1:]))


def _pixels(points: Points, pose: Pose) -> NDArray[np.int32]:
    return np.rint(place(points, pose) * (1 << SHIFT_BITS)).astype(np.int32)


def _fill(canvas: Image, points: Points, color: Color, pose: Pose) -> None:
    cv2.fillPoly(canvas, [_pixels(points, pose)], color, cv2.LINE_AA, SHIFT_BITS)


def _line(canvas: Image, points: Points, width: float, color: Color, pose: Pose) -> None:
    thickness = max(1, round(width * pose.scale))
    pixels = _pixels(points, pose)
    cv2.polylines(canvas, [pixels], False, color, thickness, cv2.LINE_AA, SHIFT_BITS)
