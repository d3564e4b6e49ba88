"""The emotion of every face in a photograph, and a copy with the result drawn in.

python examples/01_predict_photograph.py artifacts/emonet_8.fp32.onnx photo.jpg annotated.png
"""

import sys

import cv2

from emonet_deploy.runtime import EmotionPipeline, load_session
from emonet_deploy.runtime.output.annotate import Annotator, enlarged


def main(model: str, photograph: str, annotated: str) -> None:
    """Print a line for each face, and write the copy."""
    picture = cv2.imread(photograph)
    if picture is None:
        raise SystemExit(f"{photograph} is no picture that can be read")
    with load_session(model) as session:
        # Faces are found, widened to the crop EmoNet was trained on, and read.
        (result,) = EmotionPipeline(session).run([cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)])
    for face in result.faces:
        said = face.prediction
        probability = said.probabilities[said.expression]
        print(f"{said.expression} {probability:.2f} {said.valence:+.2f} {said.arousal:+.2f}")
    drawn = Annotator().draw(enlarged(result))
    cv2.imwrite(annotated, cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) >= 4 else sys.exit(__doc__)
