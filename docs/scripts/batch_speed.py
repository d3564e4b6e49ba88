"""How much of the local pipeline's speed is left in a batch, what it costs to start, and in memory.

    python docs/scripts/batch_speed.py artifacts/emonet_8.fp32.onnx speed.json [--rounds 3]

One worker of one thread reads few pictures, then many: the difference is what pictures take,
whatever it takes to start. Where Python may keep nothing compiled, each process of Ray compiles
what it imports, which takes seven seconds more. The local pipeline reads as many, with one thread.
Both in turns, since other work on the machine slows whichever runs; the median of their ratios is
told. Memory is the largest sum over all processes of the run, shared pages shared out (PSS), looked
at four times a second.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from emonet_deploy.benchmarks.environment import describe_environment
from emonet_deploy.emonet_ref.synthetic.faces import make_faces
from emonet_deploy.runtime import EmotionPipeline, Predictor, load_detector, load_session
from emonet_deploy.runtime.hardware.processes import memory_mb, process_tree
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.media.image import read_image

FEW, MANY = 24, 96


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, face in enumerate(make_faces(MANY, 3)):
            cv2.imwrite(str(folder / f"{i:03}.png"), face.image[..., ::-1])
        paths = sorted(folder.glob("*.png"))
        rounds = [_round(options.model, paths, folder / f"out{i}") for i in range(options.rounds)]
    found: dict[str, Any] = {
        "ratio": statistics.median(each["ratio"] for each in rounds),
        "cpu_ratio": statistics.median(each["cpu_ratio"] for each in rounds),
        "start_seconds": statistics.median(each["start_seconds"] for each in rounds),
        "memory_mb": max(each["memory_mb"] for each in rounds),
        "rounds": rounds,
        "environment": describe_environment(),
    }
    options.result.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(
        json.dumps(
            {key: found[key] for key in ("ratio", "cpu_ratio", "start_seconds", "memory_mb")}
        )
    )


def _round(model: Path, paths: Sequence[Path], out: Path) -> dict[str, float]:
    few = _batch(model, paths[:FEW], out.with_suffix(".few"))
    local = _local(model, paths[: MANY - FEW])
    many = _batch(model, paths, out.with_suffix(".many"))
    each = (many.seconds - few.seconds) / (MANY - FEW)
    return {
        "batch_pictures_per_second": 1 / each,
        "local_pictures_per_second": (MANY - FEW) / local.seconds,
        "ratio": local.seconds / (many.seconds - few.seconds),
        "cpu_ratio": local.cpu / (many.cpu - few.cpu),
        "start_seconds": few.seconds - FEW * each,
        "memory_mb": max(few.memory_mb, many.memory_mb),
    }


@dataclass
class _Cost:
    """What a run took: seconds by the clock and of processors, MB."""

    seconds: float
    cpu: float = 0.0
    memory_mb: float = 0.0


def _local(model: Path, paths: Sequence[Path]) -> _Cost:
    cv2.setNumThreads(1)
    with load_session(model, device="cpu", threads=1) as session:
        pipeline = EmotionPipeline(Predictor(session, 8), load_detector("none"))
        started, cpu = time.perf_counter(), time.process_time()
        count = sum(1 for _ in pipeline.run(Frame(read_image(p), str(p)) for p in paths))
        cost = _Cost(time.perf_counter() - started, time.process_time() - cpu)
    assert count == len(paths)
    return cost


def _batch(model: Path, paths: Sequence[Path], out: Path) -> _Cost:
    """Run the whole command."""
    command = [sys.executable, "-m", "emonet_deploy.cli", "batch", *map(str, paths)]
    command += ["--model", str(model), "--device", "cpu", "--detector", "none", "--workers", "1"]
    started, cost = time.perf_counter(), _Cost(0.0)
    process = subprocess.Popen(
        [*command, "--block", "8", "--out", str(out)], stdout=subprocess.DEVNULL
    )
    cpu: dict[int, float] = {}  # what each process had used when it was last seen
    while process.poll() is None:
        tree = process_tree(process.pid)
        cost.memory_mb = max(cost.memory_mb, memory_mb(tree))
        cpu |= {pid: each.cpu for pid, each in tree.items()}
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.25)
    cost.seconds, cost.cpu = time.perf_counter() - started, sum(cpu.values())
    assert process.returncode == 0
    return cost


if __name__ == "__main__":
    main()
