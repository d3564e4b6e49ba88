"""What a stage is told and leaves behind, and what becomes of its process."""

import json
import sys
import time
from pathlib import Path

import pytest

from emonet_deploy.benchmarks.gpu.stage import Artifact, Record, Settings, attempt, run_child
from emonet_deploy.errors import BackendError


def test_settings_come_back_as_they_were_told(tmp_path):
    told = Settings(
        tmp_path / "results", tmp_path / "work", nclass=5, backends=("onnx",), batches=(1, 3),
        seconds=0.5, device="cpu",
    )  # fmt: skip
    assert Settings.from_json(told.to_json()) == told


def test_unless_told_otherwise_a_gpu_is_proven(tmp_path):
    assert Settings(tmp_path, tmp_path).device == "cuda"


@pytest.fixture
def settings(tmp_path):
    told = Settings(tmp_path / "results", tmp_path / "work")
    for folder in (told.folder, told.work):
        folder.mkdir()
    return told


def test_rows_are_looked_for_where_their_stage_leaves_them(settings):
    Record(settings.work / "models.json").add(name="fp32")
    Record(settings.work / "build.json").add(name="trt")
    Record(settings.folder / "speed.json").add(name="fast")
    found = {stage: settings.rows(stage) for stage in ("models", "build", "speed", "parity")}
    assert found == {
        "models": [{"name": "fp32"}], "build": [{"name": "trt"}], "speed": [{"name": "fast"}],
        "parity": [],
    }  # fmt: skip
    (settings.folder / "speed.json").write_text("{")
    assert settings.rows("speed") == []


def test_artifacts_are_those_that_are_still_there(settings):
    model, engine = settings.work / "a.onnx", settings.work / "a.engine"
    models, built = (Record(settings.work / f"{name}.json") for name in ("models", "build"))
    models.add(name="fp32", artifact={"path": str(model), "backend": "onnx"})
    models.add(name="int8", failed="no memory")
    built.add(name="x", artifact={"path": str(engine), "backend": "trt", "optimize": "latency"})
    assert settings.artifacts() == []
    model.touch()
    assert settings.artifacts() == [Artifact(str(model), "onnx")]
    engine.touch()
    assert settings.artifacts()[1] == Artifact(str(engine), "trt", "latency")


def test_each_row_is_in_the_file_as_soon_as_it_is_known(tmp_path):
    record = Record(tmp_path / "speed.json")
    for n in (1, 2):
        record.add(name=f"row {n}", path=Path("x"))
        rows = json.loads(record.path.read_text())["rows"]
        assert rows == [{"name": f"row {k}", "path": "x"} for k in range(1, n + 1)]
    with pytest.raises(ValueError, match="JSON"):
        record.add(value=float("nan"))


def test_what_fails_is_a_row_and_the_rest_goes_on(tmp_path):
    record = Record(tmp_path / "speed.json")
    record.add(name="good")
    record.require()
    with attempt(record, "first"):
        raise RuntimeError("x" * 500 + "\nmore")
    with attempt(record, "second"):
        raise RuntimeError("why")
    assert record.rows[1] == {"name": "first", "failed": "x" * 300}
    with pytest.raises(BackendError, match="2 of 3 failed, first first: xxx"):
        record.require()


def child(code, limit=20.0):
    return run_child("stage", [sys.executable, "-S", "-c", code], limit)


@pytest.mark.parametrize(
    ("code", "status", "line"),
    [
        ("", "passed", ""),
        ("import sys; print('fine', file=sys.stderr)", "passed", ""),
        ("import sys; sys.exit(1)", "failed", "ended with code 1"),
        (r"import sys; sys.exit('one\n  why  \n\n')", "failed", "  why  "),
        ("import sys; sys.exit('x' * 400)", "failed", "x" * 300),
        (
            "import sys; print('no PyTorch', file=sys.stderr); sys.exit(4)",
            "left out",
            "no PyTorch",
        ),
        ("import os; os.kill(os.getpid(), 11)", "failed", "ended by SIGSEGV; "),
        ("import os; os.write(2, b'caf\\xe9 \\xff'); os._exit(2)", "failed", "caf\ufffd \ufffd"),
    ],
)
def test_whatever_becomes_of_a_stage_is_an_outcome(code, status, line):
    outcome = child(code)
    assert (outcome.stage, outcome.status, outcome.line) == ("stage", status, line)
    assert 0 < outcome.seconds < 20


def test_a_stage_that_hangs_is_stopped_with_all_it_started(tmp_path):
    mark = tmp_path / "alive"
    inner = (
        f"import time, pathlib\nwhile True: time.sleep(.05); pathlib.Path({str(mark)!r}).touch()"
    )
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    outcome = child(code, limit=1.5)
    assert (outcome.status, outcome.line) == ("failed", "stopped at its limit of 2 s")
    assert outcome.seconds == 1.5
    mark.unlink(missing_ok=True)
    time.sleep(0.3)
    assert not mark.exists()
