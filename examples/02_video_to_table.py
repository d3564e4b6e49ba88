"""A clip to a table: a row for each face of each frame, identities kept, values smoothed.

python examples/02_video_to_table.py artifacts/emonet_8.fp32.onnx talk.mp4 faces.csv
"""

import sys

from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.runtime import (
    EmotionPipeline,
    Tracker,
    VideoReader,
    WindowSmoother,
    load_session,
)
from emonet_deploy.runtime.output.sinks import CsvSink


def main(model: str, clip: str, table: str) -> None:
    """Write the table; it gets its name when it is complete."""
    with load_session(model) as session:
        # Detecting, reading and decoding run side by side; memory does not grow with the clip.
        pipeline = EmotionPipeline(session, tracker=Tracker(), smoother=WindowSmoother())
        frames = 0
        with CsvSink(table, CLASS_NAMES[session.info.nclass]) as sink:
            for result in pipeline.run(VideoReader(clip)):
                sink.append(result)
                frames += 1
    print(f"{frames} frames in {table}")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) >= 4 else sys.exit(__doc__)
