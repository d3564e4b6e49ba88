"""``emonet predict``: emotions of faces."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emonet_deploy.commands.console import (
    print_table,
    say,
    write_csv,
    write_json,
)
from emonet_deploy.commands.options import (
    Artifacts,
    CheckpointName,
    Device,
    JsonFile,
    NClass,
    Threads,
    device_of,
)
from emonet_deploy.errors import InputError

if TYPE_CHECKING:
    from emonet_deploy.runtime.predictor import Prediction

__all__ = ["predict"]


def predict(
    files: Annotated[list[str], typer.Argument(help="Face crops, folders, or - for a list.")],
    model: Annotated[Path | None, typer.Option(help="An artifact; else that of --nclass.")] = None,
    engine: Annotated[str, typer.Option("--engine", "--backend", help="What runs it.")] = "onnx",
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    out: Artifacts = Path("artifacts"),
    batch: Annotated[int, typer.Option(help="Faces run at once.", min=1)] = 8,
    device: Device = "auto",
    threads: Threads = None,
    json_file: JsonFile = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a CSV table.")] = None,
) -> None:
    """Tell the emotion, valence and arousal of face crops."""
    from emonet_deploy.runtime.predictor import Predictor
    from emonet_deploy.runtime.preprocess import read_image
    from emonet_deploy.runtime.session import load_session

    pictures = _pictures(files)
    if model is None:
        from emonet_deploy.commands.recipes import engines_of, obtain, source_of

        engines = engines_of(engine)
        source = source_of(checkpoint, nclass, say)
        model = obtain(engines[:1], ["fp32"], nclass, source, out, say)[0]
    with load_session(model, device=device_of(device), threads=threads) as session:
        if session.info.checkpoint.startswith("standin"):
            say("note: the stand-in is untrained, its predictions mean nothing")
        faces = (read_image(path) for path in pictures)
        predictions = Predictor(session, batch).predict(faces)
    rows = [_record(path, p) for path, p in zip(pictures, predictions, strict=True)]
    print_table(
        ("file", "expression", "probability", "valence", "arousal"),
        [
            (r["file"], r["expression"], f"{max(p.probabilities.values()):.2f}",
             f"{p.valence:+.3f}", f"{p.arousal:+.3f}")
            for r, p in zip(rows, predictions, strict=True)
        ],
    )  # fmt: skip
    write_json(json_file, rows)
    write_csv(csv_file, rows)


def _pictures(names: Sequence[str]) -> list[Path]:
    """Files named, files of folders named, and for ``-`` the files listed on standard input."""
    found: list[Path] = []
    for name in names:
        listed = sys.stdin.read().splitlines() if name == "-" else [name]
        for path in map(Path, filter(None, listed)):
            if not path.is_dir():
                found.append(path)
                continue
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
            if not inside:
                raise InputError(f"no pictures in {path}; expected {', '.join(sorted(_SUFFIXES))}")
            found.extend(inside)
    if not found:
        raise InputError("no pictures named; give files or folders")
    return found


_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def _record(path: Path, prediction: "Prediction") -> dict[str, Any]:
    return {
        "file": str(path),
        "expression": prediction.expression,
        "probabilities": prediction.probabilities,
        "valence": prediction.valence,
        "arousal": prediction.arousal,
        "landmarks": prediction.landmarks.tolist(),
    }
