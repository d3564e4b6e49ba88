"""The pictures of the README, made by the toolkit itself, into docs/ or the folder named.

From scikit-image's astronaut (NASA, public domain) and from drawn faces, with the stand-in: what
they show is how results look, not what EmoNet says, for the stand-in is untrained; its landmarks,
scattered at random, are left out.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.emonet_ref.synthetic.faces import draw_face
from emonet_deploy.runtime import (
    EmotionPipeline,
    Frame,
    Predictor,
    Tracker,
    WindowSmoother,
    load_detector,
    load_session,
)
from emonet_deploy.runtime.output.annotate import Annotator
from emonet_deploy.runtime.output.copies import write_picture
from emonet_deploy.runtime.output.timeline import TimelineSink

__all__ = ["drawn_film", "make_pictures"]

_SIDE: Final = 190
_STEP: Final = 0.15  # Seconds from frame to frame.


def drawn_film(frames: int) -> Iterator[Frame]:
    """Yield a clip, 640 x 360, of two drawn people whose emotions go round the circumplex."""
    coarse = np.random.default_rng(5).integers(120, 150, (4, 6, 3), np.uint8)
    room = np.asarray(cv2.resize(coarse, (640, 360), interpolation=cv2.INTER_CUBIC), np.uint8)
    for index in range(frames):
        time = index * _STEP
        image = room.copy()
        for person, x in ((11, 70), (14, 370)):
            angle = 0.9 * time + person
            expression = (1, 3, 6, 2)[int(angle / (np.pi / 2)) % 4]
            valence, arousal = 0.8 * np.cos(angle), 0.8 * np.sin(angle)
            face = draw_face(expression, valence, arousal, np.random.default_rng(person))
            left, top = x + round(25 * np.sin(time + person)), 90 + round(15 * np.cos(time))
            part = image[top : top + _SIDE, left : left + _SIDE]
            shown = cv2.resize(face.image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            part[:] = np.rint(part + _oval() * (shown.astype(np.float32) - part))
        yield Frame(image, "two drawn faces", index, time, 1 / _STEP)


def make_pictures(folder: Path, checkpoint: Path) -> list[Path]:
    """Write the pictures into a folder and return them.

    Args:
        folder: is made when it is missing.
        checkpoint: the weights to use, by their file.
    """
    with needs("photograph", "get the photograph"):
        from skimage import data
    astronaut: NDArray[np.uint8] = np.asarray(data.astronaut())  # type: ignore[no-untyped-call]
    photograph = astronaut[:400, 20:420]
    photo, still, plot = (folder / name for name in ("photo.jpg", "video.jpg", "timeline.svg"))
    annotator = Annotator(landmarks=False)
    with load_session(checkpoint) as session, TimelineSink(plot) as timeline:
        pipeline = EmotionPipeline(
            Predictor(session), load_detector(), tracker=Tracker(), smoother=WindowSmoother()
        )
        for result in pipeline.run([Frame(photograph)]):
            write_picture(photo, annotator.draw(result))
        for result in pipeline.run(drawn_film(48)):
            timeline.append(result)
            last = annotator.draw(result)
    write_picture(still, last)
    return [photo, still, plot]


def _oval() -> NDArray[np.float32]:
    """Return how much of a drawn face shows, 1 in the middle, 0 in the corners."""
    mask = np.zeros((_SIDE, _SIDE, 1), np.float32)
    cv2.ellipse(mask, (_SIDE // 2, _SIDE // 2), (_SIDE * 9 // 20, _SIDE // 2), 0, 0, 360, 1.0, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 4)[..., None], np.float32)


if __name__ == "__main__":
    from emonet_deploy.emonet_ref.standin import standin_path

    for made in make_pictures(Path(sys.argv[1] if sys.argv[1:] else "docs"), standin_path(8)):
        print(made)
