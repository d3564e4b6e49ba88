"""Pictures of a folder on Ray Data: 06_ray_job.py artifacts/emonet_8.fp32.onnx faces/ out/.

`emonet batch` does more: it goes on where a run ended. This is for a pipeline of your own.
"""

import os
import sys
from pathlib import Path

import ray
import ray.data

from emonet_deploy.batch.actor import Faces, Reading


def main(model: str, folder: str, out: str) -> None:
    """Write one Parquet table, in parts: a row for each file, its faces nested in it."""
    files = [{"file": str(path)} for path in sorted(Path(folder).resolve().rglob("*.png"))]
    workers = os.cpu_count() or 1
    # One CPU beside those of the workers: without, Ray Data would wait for ever to read and write.
    ray.init(num_cpus=workers + 1)
    ray.data.from_items(files).map_batches(
        Faces,
        fn_constructor_args=(Reading(os.path.abspath(model), detector="none"),),
        batch_size=64,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
    ).write_parquet(os.path.abspath(out))
    print(len(files), "pictures in", out)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) >= 4 else sys.exit(__doc__)
