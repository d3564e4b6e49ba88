"""Accuracy of each precision on each of several checkpoints, as the gates see it.

    python docs/scripts/precision_table.py OUT.json CHECKPOINT/NCLASS ... [--ways int8/cpu ...]

Each checkpoint, such as ``standin:0:rescaled/8``, is converted in each way and judged as
``emonet export`` does; nothing is left out when a gate fails. A file is told by its SHA-256, so
that a second run shows whether conversions are deterministic. Rows are added to OUT.json one by
one, and what is there is not made again. With ``--print`` the table is printed from it as Markdown.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from emonet_deploy.benchmarks.speed.reference import RememberingSession
from emonet_deploy.commands.judging import JudgedFaces, judge, judged_faces
from emonet_deploy.emonet_ref.checkpoint import load_checkpoint
from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint, find_checkpoint
from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.export.onnx import export_onnx
from emonet_deploy.export.quantization.calibrate import Calibration, calibration_crops
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.output.table_formats import Table, as_markdown

WAYS = ("fp16/gpu", "int8/gpu", "int8/cpu")


def measure(
    source: Checkpoint, reference: Session, way: str, faces: JudgedFaces, path: Path
) -> dict[str, Any]:
    """Convert a checkpoint in one way, and return what the gates make of it."""
    precision, _, target = way.partition("/")
    calibration = None
    if precision == "int8":
        calibration = Calibration(calibration_crops(None, "standin"), "procedural")
    start = time.perf_counter()
    made = export_onnx(
        load_checkpoint(source.path), path, source.identity,
        precision=precision, target=target, calibration=calibration,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    with load_session(path, device="cpu") as candidate:
        found = judge(source, reference, candidate, str(path), faces)
    record = made.info.calibration or {}
    return {
        "precision": precision, "target": target, "seconds": round(seconds, 1),
        "sha256": sha256_file(path), "megabytes": round(path.stat().st_size / 1e6, 1),
        "int8_share": record.get("int8_share"), **found.to_dict(),
    }  # fmt: skip


def add_rows(out: Path, name: str, nclass: int, ways: list[str]) -> None:
    """Measure what ``out`` does not have of a checkpoint, and add it."""
    rows = json.loads(out.read_text()) if out.exists() else []
    there = {(r["checkpoint"], r["nclass"], f"{r['precision']}/{r['target']}") for r in rows}
    ways = [way for way in ways if (name, nclass, way) not in there]
    if not ways:
        return
    source = find_checkpoint(name, nclass)
    faces = judged_faces(None)
    with (
        load_session(source.path, device="cpu") as session,
        tempfile.TemporaryDirectory() as folder,
    ):
        reference = RememberingSession(session)
        for way in ways:
            row = measure(source, reference, way, faces, Path(folder) / "model.onnx")
            rows.append({"checkpoint": name, "nclass": nclass, **row})
            out.write_text(json.dumps(rows, indent=1) + "\n")
            print(name, nclass, way, "passed" if row["passed"] else "FAILED", flush=True)


def as_table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table, equal classes with ties apart."""
    columns = (
        "checkpoint", "classes", "precision", "for", "faces", "CCC valence", "CCC arousal",
        "equal classes", "ties apart", "ties", "in int8", "gates",
    )  # fmt: skip
    return Table(
        columns,
        [
            (
                row["checkpoint"], row["nclass"], row["precision"], row["target"], row["n"],
                f"{row['ccc']['valence']:.5f}", f"{row['ccc']['arousal']:.5f}",
                f"{row['agreement']:.1%}", f"{row['gates']['agreement']['value']:.1%}",
                row["ties"]["faces"],
                "-" if row["int8_share"] is None else f"{row['int8_share']:.0%}",
                "held" if row["passed"] else "failed",
            )
            for row in rows
        ],
        "lrll" + "r" * 7 + "l",
    )  # fmt: skip


def main() -> None:
    """Measure the checkpoints named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("checkpoints", nargs="*", help="CHECKPOINT/NCLASS")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--print", action="store_true", dest="show")
    options = parser.parse_args()
    for each in options.checkpoints:
        name, _, nclass = each.rpartition("/")
        add_rows(options.out, name, int(nclass), options.ways)
    if options.show:
        print(as_markdown(as_table(json.loads(options.out.read_text()))))


if __name__ == "__main__":
    main()
