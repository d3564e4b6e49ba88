"""A film with known actors: procedural faces that move, one of them leaving and coming back."""

from collections.abc import Iterator

import cv2
import numpy as np

from emonet_deploy.emonet_ref.synthetic.faces import draw_face

WIDTH, HEIGHT, FPS = 640, 360, 25.0
SIDE = 150
POSES = 6


def film(frames: int, seed: int = 0) -> Iterator[tuple[np.ndarray, dict[int, np.ndarray]]]:
    """Yield RGB frames, each with the landmark box of every actor wholly inside the picture.

    Actor 0 stays; actor 1 leaves by the right side a third of the way through and comes back by it
    after two thirds.
    """
    rng = np.random.default_rng(seed)
    # Two people who look different, as two people do.
    people = [_person(np.random.default_rng((seed, who))) for who in (3, 4)]
    coarse = rng.integers(110, 160, (5, 8, 3), np.uint8)
    room = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for index in range(frames):
        t = index / FPS
        places = [
            (90 + 60 * np.sin(0.9 * t), 100 + 70 * np.sin(0.7 * t)),
            (380 + 60 * np.sin(1.1 * t) + _exit(index / frames), 90 + 60 * np.cos(0.5 * t)),
        ]
        picture, truth = room.copy(), {}
        for actor, (x, y) in enumerate(places):
            image, mask, box = people[actor][int(t * 3) % POSES]
            left, top = round(x), round(y)
            if _paste(picture, image, mask, left, top):
                truth[actor] = box + np.tile((left, top), 2)
        noise = rng.integers(-4, 5, picture.shape, np.int16)
        yield np.clip(picture + noise, 0, 255).astype(np.uint8), truth


def write_film(path, frames: int, seed: int = 0, codec: str = "mp4v") -> list[dict]:
    """Write the film as a video file and return the truth of each frame."""
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), FPS, (WIDTH, HEIGHT)
    )
    assert writer.isOpened()
    truths = []
    for picture, truth in film(frames, seed):
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        truths.append(truth)
    writer.release()
    return truths


def _exit(part: float) -> float:
    """How far actor 1 has gone to the right: out between 35% and 70% of the film."""
    return 420 * float(np.clip(min((part - 0.32) / 0.05, (0.72 - part) / 0.05), 0, 1))


def _person(rng):
    state = rng.bit_generator.state
    soft = np.zeros((SIDE, SIDE), np.float32)
    cv2.ellipse(soft, (SIDE // 2, SIDE // 2), (SIDE * 9 // 20, SIDE // 2), 0, 0, 360, 1.0, -1)
    soft = cv2.GaussianBlur(soft, (0, 0), 3)[..., None]
    poses = []
    for pose in range(POSES):
        rng.bit_generator.state = state
        face = draw_face(pose, np.cos(pose) * 0.7, np.sin(pose) * 0.7, rng)
        image = cv2.resize(face.image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        points = face.landmarks * SIDE / 256
        poses.append((image, soft, np.concatenate([points.min(0), points.max(0)])))
    return poses


def _paste(picture, image, mask, left: int, top: int) -> bool:
    """Blend ``image`` in at (left, top); whether all of it is inside."""
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + SIDE, WIDTH), min(top + SIDE, HEIGHT)
    if x0 < x1 and y0 < y1:
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        here = picture[y0:y1, x0:x1]
        here[:] = np.rint(here + mask[part] * (image[part].astype(np.float32) - here))
    return (x0, y0, x1, y1) == (left, top, left + SIDE, top + SIDE)
