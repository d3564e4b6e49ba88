"""The numbered examples, each run as its first lines say, on a small network."""

import csv
import json
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from helpers.clips import write_film
from helpers.golden import model
from helpers.tiny_model import write_tiny
from skimage import data

from emonet_deploy.emonet_ref.synthetic.faces import make_faces

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a user has at hand: a model, a photograph, a clip."""
    folder = tmp_path_factory.mktemp("user")
    write_tiny(folder / "m.onnx")
    cv2.imwrite(str(folder / "photo.jpg"), data.astronaut()[..., ::-1])
    write_film(folder / "talk.mp4", 6)
    return folder


def run(folder, number, *arguments):
    (script,) = (path for path in EXAMPLES if path.name.startswith(number))
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)], cwd=folder, capture_output=True,
        text=True, check=False, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_examples_are_numbered_short_and_say_how_they_are_run():
    assert [path.name[:2] for path in EXAMPLES] == [f"{i + 1:02}" for i in range(len(EXAMPLES))]
    for path in EXAMPLES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 40, path.name
        assert f"examples/{path.name}" in text or path.stem in text


def test_an_example_without_what_it_needs_says_how_it_is_run():
    for path in EXAMPLES[:2]:
        done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(path.read_text(encoding="utf-8").split('"""')[1][:40])


def test_a_photograph(folder):
    said = run(folder, "01", "m.onnx", "photo.jpg", "annotated.png").splitlines()
    assert len(said) == 1  # one astronaut
    picture = cv2.imread(str(folder / "annotated.png"))
    assert picture.shape == (512, 512, 3)
    assert (picture != data.astronaut()[..., ::-1]).any()


def test_a_clip_to_a_table(folder):
    assert run(folder, "02", "m.onnx", "talk.mp4", "faces.csv") == "6 frames in faces.csv\n"
    rows = csv.DictReader((folder / "faces.csv").read_text(encoding="utf-8").splitlines())
    assert {row["frame"] for row in rows} == set("012345")


@pytest.mark.slow
def test_export_and_compare(folder):
    import torch

    torch.save(model(8).state_dict(), folder / "w.pth")
    said = run(folder, "03", "w.pth", "models", 2).splitlines()
    assert [line.partition(":")[0] for line in said] == ["gpu.onnx", "cpu.onnx"]
    assert all("100% equal classes" in line for line in said)


def test_a_data_set_of_ones_own(folder):
    said = run(folder, "04", "m.onnx", "faces")
    assert "expression ACC" in said
    assert "arousal SAGR" in said
    assert len(list((folder / "faces").glob("*.png"))) == 12


def test_a_server_and_its_client(folder):
    pytest.importorskip("mosec")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    said = run(folder, "05", "m.onnx", port, "photo.jpg").split()
    assert said[0] == "photo.jpg"
    assert json.loads(" ".join(said[4:]))[0] > 0


@pytest.mark.slow
def test_a_job_on_ray(folder):
    pytest.importorskip("ray.data")
    from pyarrow import parquet

    crops = folder / "crops"
    crops.mkdir()
    for i, face in enumerate(make_faces(3, 1)):
        cv2.imwrite(str(crops / f"{i}.png"), face.image[..., ::-1])
    (crops / "broken.png").write_bytes(b"no picture")
    run(folder, "06", "m.onnx", "crops", "out")
    rows = parquet.read_table(folder / "out").to_pylist()
    assert len(rows) == 4
    assert [Path(row["file"]).name for row in rows if row["error"]] == ["broken.png"]
    assert all(abs(row["faces"][0]["valence"]) <= 1 for row in rows if not row["error"])


def test_inside_fastapi(folder, monkeypatch):
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    monkeypatch.setenv("EMONET_MODEL", str(folder / "m.onnx"))
    (script,) = (path for path in EXAMPLES if path.name.startswith("07"))
    with TestClient(runpy.run_path(str(script))["app"]) as client:
        answer = client.post("/faces", content=(folder / "photo.jpg").read_bytes())
        assert answer.status_code == 200
        (face,) = answer.json()
        assert set(face) >= {"box", "expression", "valence", "arousal", "landmarks"}
        assert client.post("/faces", content=b"no picture").status_code == 422
