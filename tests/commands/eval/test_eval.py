"""`emonet eval` and `emonet dataset make`, as typed."""

import csv
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.emonet_ref.synthetic.faces import make_faces
from emonet_deploy.runtime.media.image import read_image

N = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three faces in AffectNet's layout, as another program would write them."""
    import cv2

    root = tmp_path_factory.mktemp("affectnet")
    (root / "test").mkdir()
    records = {"folder": "test"}
    for number, face in enumerate(make_faces(N + 1, 77)[1:]):
        cv2.imwrite(str(root / f"test/{number}.png"), face.image[..., ::-1])
        records[f"{number}.png"] = {
            "expression": str(face.expression),
            "expression_correct": True,
            "valence": np.float32(face.valence),
            "arousal": str(face.arousal),
            "landmarks_fan": face.landmarks,
        }
    (root / "test_fullpath.pkl").write_bytes(pickle.dumps(records))
    return root


def emonet(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def done(onnx8, root, tmp_path_factory):
    """A whole run with every output, and its folder."""
    out = tmp_path_factory.mktemp("out")
    result = emonet(
        "eval", onnx8, "--data", root, "--predictions", out / "p.csv", "--json", out / "e.json",
        "--report", out / "report", "--check", "published", "--against", onnx8,
        "--batch", 2, "--threads", 2, "--device", "cpu",
    )  # fmt: skip
    return result, out


@pytest.fixture
def again(onnx8, root, done, tmp_path):
    """Run on copies of the data and the predictions, so that the model has little to do."""
    for name in ("p.csv", "p.csv.json"):
        shutil.copy(done[1] / name, tmp_path / name)
    shutil.copytree(root, tmp_path / "data")

    def again(*arguments, keep=True):
        kept = ["--predictions", tmp_path / "p.csv"] if keep else []
        options = ["--data", tmp_path / "data", "--device", "cpu", "--threads", 2]
        return emonet("eval", onnx8, *options, *kept, *arguments)

    return again


def test_untrained_weights_fail_the_published_gate_with_exit_3_after_everything_was_written(done):
    result, out = done
    assert result.exit_code == 3
    assert "error:" in result.stderr
    assert "does not have the published accuracy" in result.stderr
    assert "Traceback" not in result.output
    assert "valence CCC" in result.stdout
    assert (out / "report/index.html").is_file()


def test_the_json_says_what_the_table_says(done):
    result, out = done
    found = json.loads((out / "e.json").read_text())
    rows = dict(line.split("\t")[:2] for line in result.stdout.splitlines() if "\t" in line)
    for axis in ("valence", "arousal"):
        for metric, value in found[axis].items():
            assert rows[f"{axis} {metric}"] == f"{value:.4f}"
    assert (found["n"], found["flip"], found["backend"]) == (N, True, "onnx")
    assert found["published"]["expression"] == {"ACC": 0.75}
    assert found["environment"]["packages"]["numpy"] == np.__version__
    assert found["against"]["agreement"] == 1.0
    assert all(gate["passed"] for gate in found["against"]["gates"].values())


def test_predictions_lie_beside_the_truth(done):
    with open(done[1] / "p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [f"{i}.png" for i in range(N)]
    assert [row["expression_true"] for row in rows] == ["1", "2", "3"]


def test_a_run_goes_on_from_its_predictions(again, tmp_path):
    result = again("--json", tmp_path / "e.json")
    assert result.exit_code == 0
    assert json.loads((tmp_path / "e.json").read_text())["samples_per_second"] is None
    refused = again("--no-flip")
    assert refused.exit_code == 1
    assert "made with another flip" in refused.stderr


def test_missing_pictures_are_told_and_make_exit_code_1(again, tmp_path):
    (tmp_path / "data/test/1.png").unlink()
    (tmp_path / "p.csv").unlink()
    (tmp_path / "p.csv.json").unlink()
    result = again()
    assert result.exit_code == 1
    assert "missing: no picture at" in result.stderr
    assert "1 of 3 pictures could not be used" in result.stderr
    assert "2 samples, 1 missing" in result.stdout
    assert again("--allow-missing").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "val"], "does not hold val_fullpath.pkl"),
        (["--tolerance", "0.1"], "--tolerance goes with --check"),
        (["--max-drop", "0.1"], "--max-drop goes with --against"),
        (["--nclass", "5"], "has 8 classes, not 5"),
        (["--against", "absent.onnx"], "no ONNX model at absent.onnx"),
        (["--predictions", "x.txt"], "as .csv or .parquet"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_1(again, arguments, message):
    result = again(*arguments, keep="--predictions" not in arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_hostile_pickle_does_not_run(again, tmp_path):
    import os

    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trace"),)

    (tmp_path / "data/test_fullpath.pkl").write_bytes(pickle.dumps({"a.png": Attack()}))
    result = again(keep=False)
    assert result.exit_code == 1
    assert "may be an attack" in result.stderr
    assert not (tmp_path / "trace").exists()


def test_evaluating_an_onnx_file_needs_no_torch():
    code = "import sys, emonet_deploy.commands.eval.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_check_needs_data(onnx8):
    result = emonet("eval", onnx8, "--check", "published")
    assert result.exit_code == 1
    assert "needs --data" in result.stderr


@pytest.mark.slow
def test_procedural_faces_show_the_papers_figures_for_the_reference(standin8, tmp_path):
    made = emonet("dataset", "make", tmp_path / "set", "--n", 40, "--checkpoint", standin8)
    assert made.exit_code == 0
    options = ["--data", tmp_path / "set", "--json", tmp_path / "e.json"]
    assert emonet("eval", standin8, *options).exit_code == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["expression"]["ACC"] == pytest.approx(0.75, abs=0.03)
    assert found["valence"]["CCC"] == pytest.approx(0.82, abs=0.12)
    assert found["arousal"]["CCC"] == pytest.approx(0.75, abs=0.15)
    assert read_image(tmp_path / "set/test/0/000000.png").shape == (256, 256, 3)


FIELD = Path(__file__).parents[2] / "data" / "field"


def test_a_data_set_of_another_layout_becomes_a_table(tmp_path):
    shutil.copytree(FIELD / "tables", tmp_path / "a")
    result = emonet("dataset", "convert", tmp_path / "a/codes_8_to_10.csv", tmp_path / "a/t.csv")
    assert result.exit_code == 0, result.stderr
    assert "left out: 1 labelled as an uncertain emotion (9)" in result.stderr
    assert (tmp_path / "a/t.csv").read_text().splitlines() == [
        "path,expression,valence,arousal,x0,y0,x1,y1", "pics/a.jpg,1,0.6,0.3,20.0,10.0,70.0,60.0",
    ]  # fmt: skip
    result = emonet("dataset", "convert", FIELD / "affectnet_arrays", tmp_path / "t.csv")
    assert result.exit_code == 1
    assert "lead down from its folder" in result.stderr
