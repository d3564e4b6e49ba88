"""`emonet eval --ray`: what one machine says, to the last digit."""

import json

import cv2
import numpy as np
import pytest
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.cli import app

pytest.importorskip("ray")
N = 45


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of small pictures, one of which is missing; and a model."""
    folder, rng = tmp_path_factory.mktemp("table"), np.random.default_rng(8)
    write_tiny(folder / "m.onnx", seed=3)
    lines = ["path,expression,valence,arousal"]
    for i in range(N):
        if i != 17:
            picture = cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (64, 64))
            cv2.imwrite(str(folder / f"{i}.png"), picture)
        valence, arousal = rng.uniform(-1, 1, 2).round(3)
        lines.append(f"{i}.png,{i % 8},{valence},{arousal}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder


def evaluate(folder, name, *more):
    found = CliRunner().invoke(
        app,
        ["eval", str(folder / "m.onnx"), "--data", str(folder / "t.csv"), "--device", "cpu",
         "--batch", "4", "--json", str(folder / name), "--allow-missing", *more],
    )  # fmt: skip
    assert found.exit_code == 0, found.stderr
    said = json.loads((folder / name).read_text())
    for changing in ("samples_per_second", "throughput", "seconds", "environment"):
        said.pop(changing, None)
    return said


@pytest.mark.slow
def test_the_metrics_are_those_of_one_machine_and_a_run_goes_on(table):
    local = evaluate(table, "local.json", "--threads", "1")
    on_ray = ["--ray", "local", "--rows", str(table / "rows"), "--threads", "1"]
    assert evaluate(table, "ray.json", *on_ray) == local
    assert json.dumps(local).count("17.png") > 0
    for rows in (table / "rows" / "rows").iterdir():
        kept = rows
    assert evaluate(table, "again.json", *on_ray) == local
    assert kept.exists()
    found = CliRunner().invoke(
        app,
        ["eval", str(table / "m.onnx"), "--data", str(table / "t.csv"), "--device", "cpu",
         "--batch", "4", "--no-flip", *on_ray],
    )  # fmt: skip
    assert found.exit_code == 1
    assert "holds a run with another flip" in found.stderr


def test_ray_needs_a_place_for_its_rows(table):
    found = CliRunner().invoke(
        app,
        ["eval", str(table / "m.onnx"), "--data", str(table / "t.csv"), "--device", "cpu",
         "--ray", "local"],
    )  # fmt: skip
    assert (found.exit_code, found.stderr.splitlines()[0]) == (
        1, "error: --ray and --rows go together"
    )  # fmt: skip
