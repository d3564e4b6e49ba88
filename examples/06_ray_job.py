"""Pictures of a folder on Ray Data: 06_ray_job.py artifacts/emonet_8.fp32.onnx faces/ out/."""

import os
import sys
from pathlib import Path
from typing import Any

import ray.data

from emonet_deploy.errors import EmonetError
from emonet_deploy.runtime import Predictor, load_session
from emonet_deploy.runtime.media.image import read_image


class Emotions:
    """A session in each worker; on GPUs pass an engine, and `num_gpus=1` below."""

    def __init__(self, model: str) -> None:
        self.predictor = Predictor(load_session(model, threads=1))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Read one face crop; what is wrong with a picture stays with that picture."""
        try:
            (said,) = self.predictor.predict([read_image(row["path"])])
        except EmonetError as error:
            return row | {"expression": "", "valence": float("nan"), "error": str(error)}
        return row | {"expression": said.expression, "valence": said.valence, "error": ""}


def main(model: str, folder: str, out: str) -> None:
    """Write one Parquet table, in parts."""
    paths = [{"path": str(p)} for p in sorted(Path(folder).resolve().rglob("*.png"))]
    worker = {"fn_constructor_args": [os.path.abspath(model)], "concurrency": os.cpu_count()}
    ray.data.from_items(paths).map(Emotions, **worker).write_parquet(os.path.abspath(out))
    print(len(paths), "pictures in", out)


if __name__ == "__main__":
    main(*sys.argv[1:])
