"""Export weights to ONNX, for GPUs and for CPUs, and compare each with the reference.

python examples/03_export_and_compare.py checkpoint.pth models/
"""

import sys
from pathlib import Path

from emonet_deploy.benchmarks.parity.compare import check_parity
from emonet_deploy.emonet_ref.checkpoint import identify_checkpoint, load_checkpoint
from emonet_deploy.emonet_ref.synthetic.faces import crops, make_faces
from emonet_deploy.export.onnx import export_onnx
from emonet_deploy.runtime import load_session


def main(checkpoint: str, folder: str, faces: str = "16") -> None:
    """Print what each model loses; `emonet export` also refuses what loses too much."""
    model = load_checkpoint(checkpoint)
    pictures = crops(make_faces(int(faces), seed=7))
    Path(folder).mkdir(parents=True, exist_ok=True)
    with load_session(checkpoint) as reference:
        for target in ("gpu", "cpu"):
            path = Path(folder) / f"{target}.onnx"
            export_onnx(model, path, identify_checkpoint(checkpoint), target=target)
            with load_session(path) as session:
                found = check_parity(reference, session, pictures)
            worst = max(found.outputs[name].max_abs for name in found.outputs)
            print(f"{path.name}: largest error {worst:.2g}, {found.agreement:.0%} equal classes")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) >= 3 else sys.exit(__doc__)
