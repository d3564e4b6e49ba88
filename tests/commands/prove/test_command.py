import json

import pytest
from helpers.gpu_world import L4
from typer.testing import CliRunner

from emonet_deploy.benchmarks.gpu.stage import Outcome, Settings
from emonet_deploy.cli import app
from emonet_deploy.commands.prove import command
from emonet_deploy.commands.prove.command import run_stages
from emonet_deploy.commands.prove.stages import Stage


@pytest.fixture
def settings(tmp_path):
    made = Settings(tmp_path / "results", tmp_path / "work")
    made.folder.mkdir()
    made.work.mkdir()
    return made


def stage(seconds, inside=False):
    return Stage(lambda *_: None, seconds, inside)


def test_each_stage_has_its_share_of_the_time(settings):
    limits = {}

    def run(name, told, limit):
        limits[name] = limit
        return Outcome(name, "passed", 0.0)

    chosen = {"a": stage(60), "b": stage(240)}
    for budget, want in ((600, [60, 240]), (300, [30, 120]), (1200, [120, 480])):
        run_stages(settings, (), budget, run, lambda _: None, chosen)
        assert list(limits.values()) == want


def test_only_what_is_named_runs_and_in_the_order_of_the_proof(settings):
    said = []

    def run(name, *_):
        return Outcome(name, "failed" if name == "a" else "passed", 0.0, "why" * (name == "a"))

    chosen = {"a": stage(1), "b": stage(1), "c": stage(1)}
    outcomes = run_stages(settings, ("c", "a"), 600, run, said.append, chosen)
    assert [outcome.stage for outcome in outcomes] == ["a", "c"]
    assert said == ["a ...", "a: failed why", "c ...", "c: passed"]


def test_rows_of_an_earlier_proof_do_not_outlive_it_and_files_are_not_named(settings):
    for folder in (settings.folder, settings.work):
        (folder / "models.json").write_text('{"rows": [{"old": 1}]}')

    def run(name, told, limit):
        assert not list(told.folder.glob("models.json")) + list(told.work.glob("models.json"))
        rows = [{"name": "x", "artifact": {"path": "/secret", "backend": "onnx"}}]
        (told.work / "models.json").write_text(json.dumps({"rows": rows}))
        return Outcome(name, "passed", 0.0)

    run_stages(settings, (), 600, run, lambda _: None, {"models": stage(1, inside=True)})
    published = json.loads((settings.folder / "models.json").read_text())
    assert published == {"rows": [{"name": "x"}]}


def test_a_stage_without_rows_publishes_no_file(settings):
    run_stages(settings, (), 600, lambda name, *_: Outcome(name, "failed", 0.0),
               lambda _: None, {"models": stage(1, inside=True)})  # fmt: skip
    assert list(settings.folder.iterdir()) == []


@pytest.fixture
def prove(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("emonet_deploy.runtime.hardware.gpu.cuda_device", lambda: L4)

    def prove(*options):
        seen = []

        def run(settings, only, budget, run, say):
            seen.append((settings, tuple(only), budget))
            return [Outcome("speed", "passed", 1.0)]

        monkeypatch.setattr(command, "run_stages", run)
        done = CliRunner().invoke(app, ["prove", *options])
        return done, seen

    return prove


def test_ten_minutes_of_the_stand_in_on_every_engine_are_the_default(prove, tmp_path):
    done, ((settings, only, budget),) = prove()
    assert done.exit_code == 0, done.output
    assert (only, budget) == ((), 600)
    assert settings.checkpoint == "standin"
    assert settings.backends == ("torch", "onnx", "trt", "trt-rtx")
    assert settings.work == tmp_path / "artifacts"
    assert settings.folder.parent == tmp_path / "gpu-proof"
    assert json.loads((settings.folder / "summary.json").read_text())
    assert f"results: gpu-proof/{settings.folder.name}" in done.stderr


def test_what_is_asked_for_is_passed_on(prove, tmp_path):
    done, ((settings, only, budget),) = prove(
        "--out", "r", "--artifacts", "a", "--checkpoint", "standin:3", "--budget", "10",
        "--only", "speed,build", "--engine", "trt",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (settings.folder, settings.work) == (tmp_path / "r", tmp_path / "a")
    assert (settings.checkpoint, settings.backends) == ("standin:3", ("trt",))
    assert (only, budget) == (("speed", "build"), 10)
    assert (tmp_path / "r" / "summary.md").exists()


def test_a_proof_takes_ten_seconds_at_least(prove):
    done, seen = prove("--budget", "9.9")
    assert (done.exit_code, seen) == (2, [])
    assert "budget" in done.stderr


def test_a_folder_that_cannot_be_made_is_a_line(prove, tmp_path):
    (tmp_path / "file").touch()
    done, seen = prove("--out", "file/below")
    assert (done.exit_code, seen) == (1, [])
    assert "cannot make file/below" in done.stderr
    assert prove("--out", "r")[0].exit_code == prove("--out", "r")[0].exit_code == 0


def test_a_stage_is_a_process_that_is_given_the_settings(settings):
    outcome = command.in_process_of_its_own("nothing", settings, 60)
    assert outcome.status == "failed"
    assert "KeyError" in outcome.line
    assert Settings.from_json((settings.work / "proof-settings.json").read_text()) == settings
