"""What a picture costs, step by step; and the tables of ``docs/plan.md``, which follow from that.

    python docs/scripts/batch_plan.py measure emonet_8.fp32.onnx emonet_8.int8.cpu.onnx
    python docs/scripts/batch_plan.py print

``measure`` writes ``benchmarks/results/plan.json``: CPU time of one thread, the median of many
times, so that other work on the machine matters little. ``print`` prints the tables.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emonet_deploy.batch.rows import face_records, new_row, row_schema
from emonet_deploy.benchmarks.environment import describe_environment
from emonet_deploy.emonet_ref.synthetic.faces import make_faces
from emonet_deploy.runtime import Predictor, VideoReader, load_detector, load_session
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.media.image import decode_image
from emonet_deploy.runtime.output.table_formats import Table, as_markdown
from emonet_deploy.runtime.pipeline.found_faces import find_faces, read_found
from emonet_deploy.runtime.pipeline.preprocess import crop_faces

__all__ = ["measure", "tables"]

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "plan.json"
SIZES = {"1": (1152, 868), "12": (4000, 3000)}
TIMES, BATCH, FRAMES = 15, 8, 50
PICTURES = 100_000_000
CPUS = (64, 1024)
RATES = (1000, 3000)
"""Faces a second of a GPU: assumed, not measured."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("measure", "print"))
    parser.add_argument("models", nargs="*", help="in float32 and in int8, for CPUs")
    options = parser.parse_args(arguments)
    if options.what == "measure":
        RESULT.write_text(json.dumps(measure(*options.models), indent=2) + "\n", encoding="utf-8")
    for table in tables(json.loads(RESULT.read_text(encoding="utf-8"))).values():
        print(as_markdown(table), end="\n\n")


def measure(fp32: str, int8: str) -> dict[str, Any]:
    """Return the milliseconds of a thread, and the bytes, that a picture takes.

    Args:
        fp32: a model in float32.
        int8: one in int8, for CPUs.
    """
    cv2.setNumThreads(1)
    detector = load_detector("centerface")
    found: dict[str, Any] = {"decode_ms": {}, "detect_ms": {}, "crop_ms": {}, "file_bytes": {}}
    for size, (width, height) in SIZES.items():
        data = cv2.imencode(".jpg", _scene(width, height), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        data = data.tobytes()
        image = decode_image(data, "scene")
        faces = [face for face in detector.detect(Frame(image)) if not face.faint]
        assert len(faces) == 1
        found["file_bytes"][size] = len(data)
        found["decode_ms"][size] = _cpu_ms(lambda data=data: decode_image(data, "scene"))
        found["detect_ms"][size] = _cpu_ms(lambda image=image: detector.detect(Frame(image)))
        found["crop_ms"][size] = _cpu_ms(
            lambda image=image, faces=faces: crop_faces(image, faces, "paper")
        )
    picture = find_faces(image, detector)
    found["crop_bytes"] = len(picture.crops)
    found["read_ms"] = {}
    for precision, model in (("fp32", fp32), ("int8", int8)):
        with load_session(model, device="cpu", threads=1) as session:
            predictor = Predictor(session, BATCH)
            crops = [picture.images()[0]] * BATCH
            ms = _cpu_ms(lambda predictor=predictor, crops=crops: predictor.predict_crops(crops))
            found["read_ms"][precision] = ms / BATCH
            (faces,) = read_found([picture], predictor)
    rows = [new_row(i, f"s3://lake/{i:09}.jpg") | {"faces": face_records(faces)} for i in range(99)]
    found["row_bytes"] = round(pa.Table.from_pylist(rows, row_schema()).nbytes / len(rows))
    with tempfile.TemporaryDirectory() as folder:
        found["frame_ms"] = _frame_ms(str(Path(folder) / "clip.mp4"))
    return found | {"environment": describe_environment()}


def tables(found: Mapping[str, Any]) -> dict[str, Table]:
    """Return the tables of the page: what was measured, and what follows on CPUs and on GPUs."""
    first = {size: _finding_ms(found, size) for size in SIZES}
    on_cpus, on_gpus = [], []
    for size in SIZES:
        for precision, read in found["read_ms"].items():
            ms = first[size] + read
            hours = PICTURES * ms / 3.6e6
            on_cpus.append(
                (
                    f"{size} MP, {precision}", f"{ms:.0f}", f"{hours:,.0f}",
                    *(f"{hours / cpus / 24:,.1f}" for cpus in CPUS), f"{first[size] / ms:.0%}",
                )
            )  # fmt: skip
        for rate in RATES:
            finders = rate * first[size] / 1000
            on_gpus.append(
                (
                    f"{size} MP, {rate:,}/s", f"{finders:.0f}",
                    f"{PICTURES / rate / 3600:,.0f}", f"{finders * PICTURES / rate / 3600:,.0f}",
                    f"{rate * found['file_bytes'][size] / 1e6:,.0f}",
                    f"{rate * found['crop_bytes'] / 1e6:,.0f}",
                    f"{16 / first[size] * 1000:,.0f}",
                )
            )  # fmt: skip
    steps = [
        (f"decode a JPEG of {size} MP ({found['file_bytes'][size] / 1e6:.2f} MB)",
         f"{found['decode_ms'][size]:.1f}") for size in SIZES
    ]  # fmt: skip
    steps += [(f"find faces in {size} MP", f"{found['detect_ms'][size]:.1f}") for size in SIZES]
    steps += [(f"cut out a face, of {size} MP", f"{found['crop_ms'][size]:.2f}") for size in SIZES]
    steps += [(f"read a face, {name}", f"{ms:.1f}") for name, ms in found["read_ms"].items()]
    steps += [("decode a frame of a clip, 640 x 360, and pass it over", f"{found['frame_ms']:.2f}")]
    cpus = (f"days on {cpus:,} CPUs" for cpus in CPUS)
    return {
        "measured": Table(("step", "ms of a CPU"), steps, "lr"),
        "cpus": Table(
            ("pictures, model", "ms each", "CPU hours", *cpus, "of it finding"), on_cpus, "lrrrrr"
        ),
        "gpus": Table(
            ("pictures, assumed rate", "finders for a GPU", "GPU hours", "CPU hours",
             "files MB/s", "crops MB/s", "pictures/s of 16 finders"), on_gpus, "lrrrrrr",
        ),
    }  # fmt: skip


def _finding_ms(found: Mapping[str, Any], size: str) -> float:
    return float(sum(found[f"{step}_ms"][size] for step in ("decode", "detect", "crop")))


def _cpu_ms(work: Callable[[], object]) -> float:
    """Return the milliseconds of processors that a piece of work takes."""
    work()
    taken = []
    for _ in range(TIMES):
        started = time.process_time()
        work()
        taken.append(1e3 * (time.process_time() - started))
    return statistics.median(taken)


def _frame_ms(path: str) -> float:
    """Return the milliseconds that a frame takes which is decoded and not looked at."""
    writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25, (640, 360))
    rng = np.random.default_rng(3)
    scene = _scene(680, 400)
    for i in range(FRAMES):
        left, top = rng.integers(0, 40, 2)
        writer.write(np.roll(scene, i, 1)[top : top + 360, left : left + 640])
    writer.release()
    return _cpu_ms(lambda: list(VideoReader(path, start=1e6))) / FRAMES


def _scene(width: int, height: int) -> NDArray[np.uint8]:
    """Draw a picture, BGR: one face, a third as high as the picture, and noise as cameras have."""
    rng = np.random.default_rng(5)
    room = cv2.resize(rng.integers(60, 200, (6, 8, 3), np.uint8), (width, height), None, 0, 0, 2)
    side = height // 3
    (face,) = make_faces(1, 3)
    left, top = (width - side) // 2, (height - side) // 2
    room[top : top + side, left : left + side] = cv2.resize(face.image[..., ::-1], (side, side))
    noise = rng.normal(0, 4, room.shape).astype(np.int16)
    return np.clip(room + noise, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
