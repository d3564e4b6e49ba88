"""Whether an evaluation over machines stays within bounded memory, and says what one machine says.

    python docs/scripts/eval_rows.py rows.json [--rows 20000 200000]

The model costs nothing, so that what is measured is everything else: its answers are told by the
pictures' pixels, of which there are a few small ones, read again and again. Each number of rows is
run by a process of its own with one worker on Ray, then here; metrics are compared to the last
digit. Memory is the largest that the driver ever had.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emonet_deploy.benchmarks.accuracy.protocol import evaluate
from emonet_deploy.benchmarks.datasets.base import Dataset, Sample
from emonet_deploy.benchmarks.environment import describe_environment
from emonet_deploy.benchmarks.metrics.paper_metrics import accuracy
from emonet_deploy.commands.eval.options import Machines
from emonet_deploy.commands.eval.over_machines import Judge, evaluate_on
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.metadata import ModelInfo, tensors_of

PICTURES, BATCH = 64, 32


class Free(Session):
    """Answers with numbers told by one pixel of each picture, at once."""

    backend = "onnx"

    def __init__(self) -> None:
        inputs, outputs = tensors_of(8, "image")
        info = ModelInfo(8, "standin", interface="image", inputs=inputs, outputs=outputs)
        super().__init__(info, provider="none", device="cpu")

    def _run(self, images: Array) -> dict[str, Array]:
        pixels = images[:, 128, 128].astype(np.float32) / 255
        chances = np.outer(pixels[:, 0], np.arange(1, 9, dtype=np.float32)) % 1 + 1e-3
        return {
            "probabilities": chances / chances.sum(1, keepdims=True),
            "valence": 2 * pixels[:, 1] - 1,
            "arousal": 2 * pixels[:, 2] - 1,
            "landmarks": np.zeros((len(images), 68, 3), np.float32),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each number of rows, and write what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000])
    options = parser.parse_args(arguments)
    if len(options.rows) == 1:
        found: Any = measure(options.rows[0])
    else:
        found = {"runs": [], "environment": describe_environment()}
        for rows in options.rows:
            command = [sys.executable, __file__, str(options.result), "--rows", str(rows)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found["runs"].append(json.loads(options.result.read_text(encoding="utf-8")))
    options.result.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found))


def measure(rows: int) -> dict[str, Any]:
    """Run a number of samples on Ray, then here."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = _dataset(folder, rows)
        started = time.perf_counter()
        judge = Judge("free://", lambda model: Free(), dataset, flip=True, batch=BATCH)
        machines = Machines("local", str(folder / "rows"), 1)
        run = evaluate_on(machines, judge, {}, lambda done, total: None)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        local = evaluate(Free(), dataset, batch=BATCH, workers=1)
        alone = time.perf_counter() - started
    metrics = asdict(accuracy(run.truth, run.prediction))
    return {
        "rows": rows,
        "predicted": len(run.numbers),
        "seconds": round(seconds, 1),
        "local_seconds": round(alone, 1),
        "driver_peak_mb": round(peak),
        "metrics": metrics,
        "equal": metrics == asdict(accuracy(local.truth, local.prediction)),
    }


def _dataset(folder: Path, rows: int) -> Dataset:
    rng = np.random.default_rng(7)
    for i in range(PICTURES):
        cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 255, (8, 8, 3), np.uint8))
    affect = rng.uniform(-1, 1, (rows, 2)).round(3).tolist()
    samples = tuple(
        Sample(f"{i % PICTURES}.png", i % 8, valence, arousal, None)
        for i, (valence, arousal) in enumerate(affect)
    )
    return Dataset("drawn", folder, 8, samples)


if __name__ == "__main__":
    main()
