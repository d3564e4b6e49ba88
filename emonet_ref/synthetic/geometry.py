"""Where the 68 landmarks of a drawn face lie, given what it is to express.

The face is modelled in its own units: half the width of the head is 1, the origin lies between
the eyes, x points to the right of the picture, y down and z to the viewer.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Points", "Pose", "Proportions", "landmarks_68", "place"]

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Action:
    """How far the parts of a face move from rest, in face units unless said otherwise."""

    inner_brow: float = 0.0
    """Inner ends of the brows, upwards."""
    outer_brow: float = 0.0
    """Outer ends of the brows, upwards."""
    eye: float = 0.0
    """Half height of the eyes, added to the rest's."""
    gap: float = 0.0
    """Opening between the lips."""
    lift: float = 0.0
    """Corners of the mouth, upwards."""
    width: float = 0.0
    """Half width of the mouth, added to the rest's."""
    sneer: float = 0.0
    """Upper lip and wings of the nose, upwards."""
    smirk: float = 0.0
    """The corner of the mouth at the picture's right only, upwards."""


# What a full expression adds; signs follow the facial action coding system's descriptions.
EXPRESSIONS: Final[tuple[Action, ...]] = (
    Action(),
    Action(eye=-0.02, gap=0.07, lift=0.12, width=0.10, outer_brow=0.02),
    Action(inner_brow=0.13, outer_brow=-0.06, eye=-0.025, lift=-0.11, width=-0.02),
    Action(inner_brow=0.11, outer_brow=0.12, eye=0.03, gap=0.22, width=-0.08),
    Action(inner_brow=0.14, outer_brow=0.02, eye=0.03, gap=0.09, lift=-0.06, width=0.06),
    Action(inner_brow=-0.09, outer_brow=-0.03, eye=-0.035, lift=-0.05, sneer=0.11, gap=0.03),
    Action(inner_brow=-0.15, outer_brow=0.06, eye=0.01, lift=-0.07, width=-0.05),
    Action(outer_brow=0.03, eye=-0.025, smirk=0.13, width=-0.02),
)

# What one unit of valence or arousal adds, whatever the expression.
VALENCE: Final = Action(inner_brow=0.02, outer_brow=0.02, lift=0.08, width=0.04)
AROUSAL: Final = Action(inner_brow=0.02, outer_brow=0.02, eye=0.025, gap=0.07)


@dataclass(frozen=True)
class Proportions:
    """What differs between people, as factors of the average face."""

    chin: float = 1.0
    eye_distance: float = 1.0
    eye_height: float = 1.0
    mouth_width: float = 1.0
    lips: float = 1.0
    nose_width: float = 1.0


@dataclass(frozen=True)
class Pose:
    """Rotation of the head in radians, then where and how large it lies in the picture."""

    yaw: float
    pitch: float
    roll: float
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)


def landmarks_68(
    expression: int, valence: float, arousal: float, proportions: Proportions
) -> Points:
    """Return the landmarks of a face seen from the front, 68 x 2 in face units, iBUG order.

    Args:
        expression: 0-7, as in ``CLASS_NAMES[8]``.
        valence: in [-1, 1].
        arousal: in [-1, 1].
        proportions: of the person.
    """
    action = _action(expression, valence, arousal)
    gap = max(action.gap, 0.0)
    brow = _brow(action)
    eye = _eye(action, proportions)
    points = np.concatenate(
        (
            _jaw(gap, proportions),
            brow,
            _mirrored(brow)[::-1],
            _nose(action, proportions),
            eye,
            _mirrored(eye)[[3, 2, 1, 0, 5, 4]],
            _mouth(action, gap, proportions),
        )
    )
    return np.asarray(points, np.float64)


def place(points: Points, pose: Pose) -> Points:
    """Turn points of the face's surface (n x 2, face units) and project them into the picture."""
    x, y = points[:, 0], points[:, 1] - 0.5
    z = _depth(points)
    x, z = (
        x * np.cos(pose.yaw) + z * np.sin(pose.yaw),
        z * np.cos(pose.yaw) - x * np.sin(pose.yaw),
    )
    y = y * np.cos(pose.pitch) - z * np.sin(pose.pitch)
    cos, sin = np.cos(pose.roll), np.sin(pose.roll)
    turned = np.stack((x * cos - y * sin, x * sin + y * cos), 1)
    return np.asarray(turned * pose.scale + pose.shift, np.float64)


def _action(expression: int, valence: float, arousal: float) -> Action:
    # A weak emotion still shows which one it is, so the expression never falls below 60%.
    strength = 0.6 + 0.4 * min(np.hypot(valence, arousal), 1.0)
    shape = EXPRESSIONS[expression]
    return Action(
        **{
            part.name: strength * getattr(shape, part.name)
            + valence * getattr(VALENCE, part.name)
            + arousal * getattr(AROUSAL, part.name)
            for part in fields(Action)
        }
    )


def _depth(points: Points) -> Points:
    x, y = points[:, 0], points[:, 1]
    skull = 0.8 * np.sqrt(np.clip(1.0 - x**2 / 1.15, 0.0, None))
    nose = 0.35 * np.exp(-((x / 0.16) ** 2)) * np.clip(y / 0.6, 0, 1)
    nose *= np.clip((0.9 - y) / 0.3, 0, 1)
    return np.asarray(skull + nose, np.float64)


def _mirrored(points: Points) -> Points:
    return points * (-1.0, 1.0)


def _jaw(gap: float, proportions: Proportions) -> Points:
    angle = np.linspace(0, np.pi, 17)
    cos, sin = np.cos(angle), np.sin(angle)
    # A superellipse: fuller at the cheeks than an ellipse. An open mouth drops the chin.
    x = -0.95 * np.sign(cos) * np.abs(cos) ** 0.86
    y = (1.48 * proportions.chin + 0.7 * gap) * sin**0.9
    return np.stack((x, y), 1)


def _brow(action: Action) -> Points:
    inner = np.linspace(0, 1, 5)
    arch = 0.10 * np.sin(np.pi * (0.15 + 0.75 * inner))
    y = -0.15 - arch - action.inner_brow * inner - action.outer_brow * (1 - inner)
    return np.stack((-0.80 + 0.60 * inner, y), 1)


def _nose(action: Action, proportions: Proportions) -> Points:
    bridge = [(0.0, y) for y in (0.02, 0.21, 0.40, 0.58)]
    wings = [(x * proportions.nose_width, y) for x, y in ((-0.24, 0.70), (-0.13, 0.75), (0, 0.78))]
    wings += [(-x, y) for x, y in wings[1::-1]]
    points = np.array(bridge + wings)
    points[4:, 1] -= 0.5 * action.sneer
    return points


def _eye(action: Action, proportions: Proportions) -> Points:
    height = max(0.075 * proportions.eye_height + action.eye, 0.02)
    centre = -0.43 * proportions.eye_distance
    x = centre + np.array([-0.22, -0.09, 0.08, 0.21, 0.08, -0.09])
    y = height * np.array([0.0, -1.0, -1.0, 0.15, 0.65, 0.65])
    return np.stack((x, y), 1)


def _mouth(action: Action, gap: float, proportions: Proportions) -> Points:
    half = 0.45 * proportions.mouth_width + action.width
    upper = np.array([(-0.62, -0.09), (-0.22, -0.13), (0, -0.11), (0.22, -0.13), (0.62, -0.09)])
    lower = np.array([(0.62, 0.10), (0.25, 0.15), (0, 0.16), (-0.25, 0.15), (-0.62, 0.10)])
    inner_upper = np.array([(-0.4, -0.015), (0, -0.01), (0.4, -0.015)])
    for lip in (upper, lower):
        lip[:, 1] *= proportions.lips
    inner_lower = _mirrored(inner_upper) * (1, -1)
    upper[:, 1] -= action.sneer
    inner_upper[:, 1] -= action.sneer * 0.9
    for lip, share in ((upper, 0.25), (inner_upper, 0.25), (lower, -0.75), (inner_lower, -0.75)):
        lip[:, 1] -= share * gap * (1 - lip[:, 0] ** 2)
    left, right, inner_left, inner_right = ([[x, 0.0]] for x in (-1.0, 1.0, -0.88, 0.88))
    points = np.concatenate(
        (left, upper, right, lower, inner_left, inner_upper, inner_right, inner_lower)
    )
    points[:, 1] -= action.lift * points[:, 0] ** 2
    points[:, 1] -= action.smirk * np.clip(points[:, 0], 0, 1) ** 2
    return np.stack((points[:, 0] * half, points[:, 1] + 1.04), 1)
