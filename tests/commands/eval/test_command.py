import json
import shutil

import pytest
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.cli import app


@pytest.fixture
def here(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "m.onnx")
    shutil.copy(data / "field" / "plain.jpg", "a.jpg")
    lines = [f"a.jpg,{i % 8},{i / 10},{-i / 10}" for i in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["path,expression,valence,arousal", *lines]) + "\n")
    return tmp_path


def emonet(*arguments):
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_every_output_that_was_asked_for_is_there(here):
    done = emonet("m.onnx", "--data", "t.csv", "--json", "e.json", "--report", "page", "--threads",
                  "1", "--device", "cpu", "--predictions", "p.csv")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    found = json.loads((here / "e.json").read_text())
    assert found["n"] == 4
    assert found["flip"] is True
    assert found["environment"]["cores"] > 0
    assert (here / "page" / "index.html").exists()
    assert "report: page" in done.stderr
    assert len((here / "p.csv").read_text().splitlines()) == 5


def test_no_output_is_written_that_was_not_asked_for(here):
    before = sorted(here.iterdir())
    done = emonet("m.onnx", "--data", "t.csv", "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    assert "ACC" in done.stdout
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (["--json", "t.csv"], "t.csv"),
        (["--predictions", "t.csv"], "t.csv"),
        (["--json", "m.onnx"], "m.onnx"),
        (["--json", "m.onnx", "--against", "m.onnx"], "m.onnx"),
    ],
)
def test_nothing_is_written_over_what_is_read(here, outputs, words):
    before = {file: file.read_bytes() for file in here.iterdir()}
    done = emonet("m.onnx", "--data", "t.csv", *outputs)
    assert done.exit_code == 1
    assert words in done.stderr
    assert {file: file.read_bytes() for file in here.iterdir()} == before


def test_a_failed_gate_ends_with_3_after_everything_was_written(here):
    done = emonet("m.onnx", "--data", "t.csv", "--check", "published", "--json", "e.json")
    assert done.exit_code == 3
    assert json.loads((here / "e.json").read_text())["published"] is not None


def test_missing_pictures_end_with_1_unless_they_are_allowed(here):
    with open("t.csv", "a") as file:
        file.write("absent.jpg,0,0.5,0.5\n")
    assert emonet("m.onnx", "--data", "t.csv").exit_code == 1
    assert emonet("m.onnx", "--data", "t.csv", "--allow-missing").exit_code == 0


def test_one_of_the_ways_to_name_machines_is_enough_to_want_the_other(here):
    for option in (["--ray", "local"], ["--rows", "rows"]):
        done = emonet("m.onnx", "--data", "t.csv", *option)
        assert done.exit_code == 1
        assert "--ray and --rows go together" in done.stderr


def test_an_artifact_is_looked_for_with_the_published_weights_and_eight_classes(here, monkeypatch):
    asked = []

    def resolve(name, nclass, say):
        asked.append((name, nclass))
        raise SystemExit(9)

    monkeypatch.setattr("emonet_deploy.commands.prepare_artifacts.resolve_checkpoint", resolve)
    for options, want in (
        ([], ("original", 8)),
        (["--nclass", "5"], ("original", 5)),
        (["--checkpoint", "standin"], ("standin", 8)),
    ):
        emonet("--data", "t.csv", *options)
        assert asked.pop() == want
