"""Who is who over the frames of a clip, with `emonet serve` doing the work.

python examples/serve_client_tracking.py http://127.0.0.1:8000 clip.mp4

The server keeps nothing from one picture to the next, so that any of several servers can answer:
identities are the client's, by the same tracker as in `emonet predict`. Prints a line per face and
frame: time, identity, expression, valence, arousal.
"""

import sys

import cv2
from serve_client import faces

from emonet_deploy.runtime import Tracker, VideoReader
from emonet_deploy.runtime.detection.base import Detection


def main() -> None:
    """Follow the faces of a clip."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    server, clip = sys.argv[1:]
    tracker = Tracker()
    for frame in VideoReader(clip):
        picture = cv2.imencode(".jpg", frame.image[..., ::-1])[1].tobytes()
        found = faces(server, picture)["faces"]
        boxes = [Detection(tuple(face["box"]), face["score"]) for face in found]
        for identity, face in zip(tracker.update(frame, boxes), found, strict=True):
            if identity is not None:
                print(
                    f"{frame.time:.2f}", identity, face["expression"], f"{face['valence']:+.3f}",
                    f"{face['arousal']:+.3f}", sep="\t",
                )  # fmt: skip


if __name__ == "__main__":
    main()
