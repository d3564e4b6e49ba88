"""Your own labelled faces as a table, and a model's accuracy on it by the paper's protocol.

python examples/04_own_data_set.py artifacts/emonet_8.fp32.onnx faces/

Drawn faces stand in for yours: replace the loop by one over your pictures and labels.
"""

import csv
import sys
from pathlib import Path

import cv2

from emonet_deploy.benchmarks.accuracy.protocol import evaluate
from emonet_deploy.benchmarks.datasets.load import read_dataset
from emonet_deploy.benchmarks.metrics.paper_metrics import accuracy
from emonet_deploy.emonet_ref.synthetic.faces import make_faces
from emonet_deploy.runtime import load_session


def main(model: str, folder: str) -> None:
    """Write pictures and table into the folder, and evaluate."""
    table = Path(folder) / "table.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    with open(table, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "expression", "valence", "arousal"))
        for i, face in enumerate(make_faces(12, seed=3)):
            cv2.imwrite(str(table.with_name(f"{i}.png")), face.image[..., ::-1])
            rows.writerow((f"{i}.png", face.expression, face.valence, face.arousal))
    with load_session(model) as session:
        run = evaluate(session, read_dataset(table, session.info.nclass))
    found = accuracy(run.truth, run.prediction)
    for name, value in found.by_name().items():
        print(name, "none" if value is None else f"{value:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) >= 3 else sys.exit(__doc__)
