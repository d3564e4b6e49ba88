"""What a reader of the documents has at hand: models, a photograph, clips, crops with labels."""

import shutil
from pathlib import Path

import cv2

from emonet_deploy.emonet_ref.synthetic.faces import make_faces
from helpers.clips import write_film
from helpers.tiny_model import write_tiny

ROOT = Path(__file__).parents[2]


def write_reader_folder(folder):
    """Fill a folder; the names are those that README and docs use."""
    from skimage import data

    (folder / "artifacts").mkdir()
    for name in ("emonet_8.fp32.onnx", "emonet_8.fp32.cpu.onnx"):
        write_tiny(folder / "artifacts" / name)
    write_tiny(folder / "artifacts/emonet_8.fp32.image.onnx", interface="image")
    shutil.copytree(ROOT / "docs/scripts", folder / "docs/scripts")
    cv2.imwrite(str(folder / "photo.jpg"), data.astronaut()[..., ::-1])
    write_film(folder / "talk.mp4", 6)
    shutil.copy(folder / "talk.mp4", folder / "long.mp4")
    for place, name in (("photos", "photo.jpg"), ("clips", "talk.mp4")):
        (folder / place).mkdir()
        shutil.copy(folder / name, folder / place)
    rows = ["path,expression,valence,arousal"]
    for place in ("faces", "crops"):
        (folder / place).mkdir()
        for i, face in enumerate(make_faces(4, 3)):
            cv2.imwrite(str(folder / place / f"{i}.png"), face.image[..., ::-1])
            if place == "faces":
                rows.append(f"{i}.png,{face.expression},{face.valence},{face.arousal}")
    (folder / "faces/table.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder
