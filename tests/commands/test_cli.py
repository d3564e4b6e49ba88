"""The command line as a user meets it: exit codes, one-line errors, nothing half-written."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import cv2
import onnx
import pytest
import torch
from helpers import golden
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.emonet_ref.synthetic.faces import crops, make_faces
from emonet_deploy.runtime.metadata import read_info

run = CliRunner()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The golden weights as a checkpoint file."""
    path = tmp_path_factory.mktemp("checkpoint") / "golden.pth"
    torch.save(golden.weights(8, 0), path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """What ``emonet export`` makes of the checkpoint, and what it says."""
    out = tmp_path_factory.mktemp("artifacts")
    result = run.invoke(
        app,
        ["export", "--checkpoint", str(checkpoint), "--out", str(out),
         "--json", str(out / "e.json")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return out, result


def one_line(result, code=1):
    assert result.exit_code == code, result.output
    (line,) = [s for s in result.stderr.splitlines() if s.startswith("error: ")]
    assert "Traceback" not in result.output
    return line


def test_export_proves_agreement_before_it_says_done(exported):
    out, result = exported
    written = json.loads((out / "e.json").read_text())
    assert result.stdout.splitlines()[-1].startswith("done: ")
    assert (out / "emonet_8.fp32.onnx").is_file()
    assert written["passed"]
    assert written["n"] == 96
    assert written["agreement"] == 1
    assert set(written["outputs"]) == {"heatmap", "expression", "valence", "arousal"}
    assert set(written["outputs"]["heatmap"]) >= {"max_abs", "mean_abs", "cosine", "snr_db"}
    assert written["environment"]["cores"]
    assert written["reference"].startswith("sha256:")


def test_parity_passes_the_export_and_fails_other_weights(exported, checkpoint, tmp_path):
    out, _ = exported
    artifact = out / "emonet_8.fp32.onnx"
    arguments = ["parity", "--checkpoint", str(checkpoint), "--n", "8"]
    report = tmp_path / "p.json"
    good = run.invoke(app, [*arguments, str(artifact), "--json", str(report)])
    assert good.exit_code == 0, good.output
    assert json.loads(report.read_text())["passed"] is True

    model = onnx.load(artifact)
    bias = next(t for t in model.graph.initializer if t.name == "emo_fc_2.3.bias")
    values = onnx.numpy_helper.to_array(bias).copy()
    values[-1] += 0.01
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    changed = tmp_path / "changed.onnx"
    onnx.save(model, changed)
    bad = run.invoke(app, [*arguments, str(changed), "--json", str(report)])
    assert "max_error_arousal" in one_line(bad, 3)
    written = json.loads(report.read_text())
    assert written["passed"] is False
    assert written["gates"]["max_error_arousal"]["passed"] is False
    assert written["gates"]["max_error_valence"]["passed"] is True


@pytest.mark.slow
def test_a_user_decides_with_open_eyes_on_faces_of_his_own(checkpoint, tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    for i, crop in enumerate(crops(make_faces(9, 5))):
        cv2.imwrite(str(faces / f"{i}.png"), crop[..., ::-1])
    report = tmp_path / "r.json"
    arguments = [
        "export", "--checkpoint", str(checkpoint), "--out", str(tmp_path), "--faces", str(faces),
        "--precision", "fp32,fp16", "--gate", "ccc=1.5", "--json", str(report),
    ]  # fmt: skip
    refused = run.invoke(app, arguments)
    line = one_line(refused, 3)
    assert "ccc_valence" in line
    assert "(gate 1.5)" in line
    assert "on 9 faces" in line
    assert "--keep" in refused.stderr
    assert not list(tmp_path.glob("*.onnx"))

    kept = run.invoke(app, [*arguments, "--keep"])
    assert "kept as asked" in one_line(kept, 3)
    rows = json.loads(report.read_text())["exports"]
    assert [row["passed"] for row in rows] == [False, False]
    for precision in ("fp32", "fp16"):
        judged = read_info(tmp_path / f"emonet_8.{precision}.onnx").parity
        assert judged["faces"] == "faces"
        assert judged["n"] == 9
        assert judged["passed"] is False
        assert judged["gates"]["ccc_valence"]["limit"] == 1.5
        assert judged["gates"]["strays"]["passed"] is True


def test_parity_asks_for_the_file_an_artifact_came_from(exported):
    result = run.invoke(app, ["parity", str(exported[0] / "emonet_8.fp32.onnx")])
    assert "came from a file" in one_line(result)
    assert "hint: name it with --checkpoint FILE" in result.stderr.splitlines()


def test_bench_writes_the_rows_that_scripts_read(exported, checkpoint, tmp_path):
    report = tmp_path / "b.json"
    artifact = str(exported[0] / "emonet_8.fp32.onnx")
    result = run.invoke(
        app,
        ["bench", artifact, str(checkpoint), "--engine", "torch,onnx,openvino",
         "--batch", "1", "--seconds", "0.1", "--n", "4", "--json", str(report)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = {row["backend"]: row for row in json.loads(report.read_text())["rows"]}
    assert sorted(rows) == ["onnx", "openvino", "torch"]
    # The checkpoint among the artifacts is what the others are compared with.
    assert rows["torch"]["speedup"] == 1
    assert set(rows["torch"]) >= {
        "backend", "provider", "precision", "batch", "n", "p50_ms", "p90_ms", "p95_ms", "p99_ms",
        "throughput", "peak_rss_mb", "size_mb", "speedup", "agreement",
        "ccc_valence", "ccc_arousal",
    }  # fmt: skip
    assert [rows[name]["agreement"] for name in ("onnx", "openvino")] == [1, 1]
    assert rows["onnx"]["provider"] == "CPUExecutionProvider"
    assert rows["openvino"]["provider"] == "OpenVINO CPU"
    assert rows["openvino"]["peak_rss_mb"] > 0
    header, *lines = [line.split("\t") for line in result.stdout.splitlines()]
    printed = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert printed["torch"]["speed-up"] == "1.00"
    assert printed["onnx"]["equal classes"] == "100.0%"


def test_bench_finds_the_artifacts_in_the_folder(exported, checkpoint, tmp_path):
    report = tmp_path / "b.json"
    result = run.invoke(
        app,
        ["bench", "--engine", "onnx", "--checkpoint", str(checkpoint), "--out",
         str(exported[0]), "--batch", "1", "--seconds", "0.1", "--n", "4", "--json", str(report)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (row,) = json.loads(report.read_text())["rows"]
    assert row["agreement"] == 1


def test_bench_asks_for_the_file_an_artifact_came_from(exported):
    result = run.invoke(app, ["bench", str(exported[0] / "emonet_8.fp32.onnx")])
    assert "came from a file" in one_line(result)


def test_parity_runs_on_the_engine_named(exported, checkpoint):
    artifact = str(exported[0] / "emonet_8.fp32.onnx")
    arguments = ["parity", artifact, "--checkpoint", str(checkpoint), "--n", "4"]
    assert run.invoke(app, [*arguments, "--engine", "openvino"]).exit_code == 0
    assert "run by the backend onnx or openvino, not by torch" in one_line(
        run.invoke(app, [*arguments, "--engine", "torch"])
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "--checkpoint", "nowhere.pth"], "no checkpoint at nowhere.pth"),
        (["export", "--checkpoint", "standin:x"], "whole number"),
        (["parity", "nowhere.onnx"], "no ONNX model at nowhere.onnx"),
        (["parity", "thing.xyz"], "cannot tell what thing.xyz is"),
        (["checkpoint", "verify", "nowhere.pth"], "nowhere.pth"),
        (["bench", "x.onnx", "--engine", "torch"], "x.onnx is run by onnx or openvino"),
        (["bench", "x.onnx", "--engine", "torch,onnx"], "none of the artifacts runs on torch"),
    ],
)
def test_mistakes_are_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in one_line(run.invoke(app, arguments))
    assert list(tmp_path.iterdir()) == []


def test_usage_errors_have_their_own_exit_code():
    assert run.invoke(app, ["export", "--nonsense"]).exit_code == 2
    assert run.invoke(app, ["nonsense"]).exit_code == 2


def test_debug_shows_the_traceback():
    result = run.invoke(app, ["--debug", "parity", "nowhere.onnx"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_verify_says_what_a_checkpoint_is(checkpoint):
    result = run.invoke(app, ["checkpoint", "verify", str(checkpoint)])
    assert result.exit_code == 0
    assert "8 classes" in result.stdout
    assert "sha256:" in result.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(checkpoint, tmp_path):
    tmp_path.chmod(0o500)
    arguments = ["export", "--checkpoint", str(checkpoint), "--out", str(tmp_path / "a")]
    assert "cannot write" in one_line(run.invoke(app, arguments))


def test_a_file_in_the_place_of_the_folder_is_named(checkpoint, tmp_path):
    (tmp_path / "file").write_text("keep me")
    arguments = ["export", "--checkpoint", str(checkpoint), "--out", str(tmp_path / "file")]
    assert "cannot write" in one_line(run.invoke(app, arguments))
    assert (tmp_path / "file").read_text() == "keep me"


def emonet(*arguments, **options):
    command = [sys.executable, "-c", "from emonet_deploy.cli import main; main()", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def test_a_full_disk_leaves_the_older_artifact_and_no_litter(checkpoint, tmp_path):
    old = tmp_path / "emonet_8.fp32.onnx"
    old.write_bytes(b"older")
    # Files may grow to 1 MB only, which is what a disk that fills up looks like.
    process = emonet(
        "export", "--checkpoint", str(checkpoint), "--out", str(tmp_path),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20)),
    )  # fmt: skip
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.splitlines()[-2].startswith("error: cannot write")
    assert "Traceback" not in errors
    assert [p.name for p in tmp_path.iterdir()] == [old.name]
    assert old.read_bytes() == b"older"


def test_a_killed_export_leaves_nothing_under_the_final_name(checkpoint, tmp_path):
    process = emonet("export", "--checkpoint", str(checkpoint), "--out", str(tmp_path))
    deadline = time.monotonic() + 120
    # Killed at the worst moment: while the model is being written or compared.
    while not list(tmp_path.glob(".emonet*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "emonet_8.fp32.onnx").exists()
