"""`emonet prove` on a pretended GPU: every stage, and what becomes of stages that fail."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from helpers.gpu_world import L4, World
from helpers.tiny_model import write_tiny
from onnx import numpy_helper
from typer.testing import CliRunner

from emonet_deploy.benchmarks.gpu.peers import open_gpu_peer
from emonet_deploy.benchmarks.gpu.stage import Outcome, Record, Settings
from emonet_deploy.benchmarks.gpu.summary import stage_table, summarize
from emonet_deploy.cli import app
from emonet_deploy.commands import prepare_artifacts
from emonet_deploy.commands.prove import command, stages
from emonet_deploy.commands.prove.stages import STAGES, Stage
from emonet_deploy.emonet_ref.checkpoint import load_checkpoint
from emonet_deploy.emonet_ref.constants import TENSOR_OUTPUTS
from emonet_deploy.errors import EmonetError
from emonet_deploy.export.onnx import save_model
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.tensorrt import cuda
from emonet_deploy.runtime.metadata import artifact_name, read_info


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Settings of a proof whose network is tiny; its reference is the tiny model itself.

    Its int8 would not reach the gates, which is not what is tested here.
    """
    monkeypatch.setattr(stages, "MODELS", (("fp32", "image"), ("fp16", "image")))
    made = Settings(
        tmp_path / "results", tmp_path / "work", backends=("trt",), batches=(1, 2),
        seconds=0.02, samples=10, faces=12, device="cpu",
    )  # fmt: skip
    for folder in (made.folder, made.work):
        folder.mkdir()
    for precision, interface in stages.MODELS:
        write_as(precision, made.work / artifact_name(8, precision, "gpu", interface), interface)
    reference = made.work / artifact_name(8, "fp32", "gpu", "image")
    source = SimpleNamespace(path=reference, identity="standin")
    monkeypatch.setattr(prepare_artifacts, "resolve_checkpoint", lambda *_: source)
    return made


def write_as(precision, path, interface, seed=0):
    """Write the tiny model in float32, said to be of a precision: the gates are tested, not it.

    Its heads are scaled so that valence and arousal are within their range, and differ.
    """
    write_tiny(path, "fp32", interface, seed=seed)
    model = onnx.load(path)
    (heads,) = (tensor for tensor in model.graph.initializer if tensor.name == "fc")
    heads.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(heads) * np.float32(0.05), "fc"))
    save_model(model, path, replace(read_info(path), precision=precision))


@pytest.fixture
def world(tmp_path, monkeypatch):
    yield World("tensorrt-11.4", tmp_path, monkeypatch)
    cuda.open_gpu.cache_clear()


def here(name, settings, limit):
    """Run a stage in this process, where the GPU is a pretended one."""
    stage = STAGES[name]
    folder = settings.work if stage.inside else settings.folder
    try:
        stage.run(settings, Record(folder / f"{name}.json"))
    except EmonetError as error:
        kind = "left out" if type(error).__name__.startswith("LeftOut") else "failed"
        return Outcome(name, kind, 0.0, str(error))
    return Outcome(name, "passed", 0.0)


def test_every_stage_passes_on_a_gpu_with_tensorrt(settings, world):
    names = [name for name in STAGES if name not in {"stress", "tests"}]
    outcomes = command.run_stages(settings, names, 600, here, lambda _: None)
    assert [(o.stage, o.status, o.line) for o in outcomes] == [(n, "passed", "") for n in names]
    built = settings.rows("build")
    assert len(built) == 2 * 2  # for latency and throughput, each precision
    judged = {row["name"]: row for row in settings.rows("parity")}
    assert judged["trt fp16 image latency"]["passed"]
    speeds = settings.rows("speed")
    assert {row["batch"] for row in speeds if row["name"] == "trt fp32 image throughput"} == {1, 2}
    for row in speeds:
        assert row["n"] >= 10
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert set(row["throughput_by_threads"]) == {"1", "2", "4"}
    report = summarize(settings, outcomes)
    assert len(report.table.rows) == len(speeds)
    text = report.to_markdown()
    for part in ("use for one face at once: trt", "use for many faces: trt", "a CUDA graph gains"):
        assert part in text
    json.dumps(report.to_dict(), allow_nan=False)


def test_the_results_name_neither_the_machine_nor_its_files(settings, world):
    names = ["environment", "models", "build", "parity"]
    outcomes = command.run_stages(settings, names, 600, here, lambda _: None)
    (settings.folder / "summary.md").write_text(summarize(settings, outcomes).to_markdown())
    files = list(settings.folder.iterdir())
    assert {file.stem for file in files} >= {*names, "summary"}
    import socket

    for file in files:
        text = file.read_text()
        assert str(settings.work) not in text
        assert str(Path.home()) not in text.replace(sys.prefix, "")
        assert socket.gethostname() not in text
    assert sum(file.stat().st_size for file in files) < 1 << 20


def test_a_gate_that_fails_fails_the_stage_and_not_the_rest(settings, world):
    write_as("fp16", settings.work / artifact_name(8, "fp16", "gpu", "image"), "image", seed=5)
    names = ["models", "build", "parity", "speed"]
    outcomes = command.run_stages(settings, names, 600, here, lambda _: None)
    assert [o.status for o in outcomes] == ["passed", "passed", "failed", "passed"]
    assert "a gate failed: trt fp16 image latency, trt fp16 image throughput" in outcomes[2].line
    report = summarize(settings, outcomes)
    column = report.table.columns.index("gates")
    gates = {row[0]: row[column] for row in report.table.rows}
    assert gates["trt fp16 image latency"] == "failed"
    assert gates["trt fp32 image latency"] == "passed"
    use = [sentence for sentence in report.sentences if sentence.startswith("use ")]
    assert use
    assert not any("fp16" in sentence for sentence in use)


def test_an_engine_that_cannot_be_built_is_a_row(settings, world):
    world.gpu.start()
    here("models", settings, 1)
    world.gpu.start(fail_at=3)
    outcome = here("build", settings, 1)
    rows = settings.rows("build")
    assert outcome.status == "failed"
    assert len(rows) == 4
    assert [bool(row.get("failed")) for row in rows] == [True] + 3 * [False]


def test_without_tensorrt_what_is_left_is_proven(settings, monkeypatch):
    """PyTorch and ONNX Runtime; here on the processor, where CUDA is not."""
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    left = replace(settings, backends=("onnx", "trt", "trt-rtx"))
    outcomes = {}
    for name in ("models", "build", "parity", "speed", "stress", "tests"):
        outcomes[name] = here(name, left, 1)
    assert outcomes["build"].status == "left out"
    assert "tensorrt" in outcomes["build"].line
    for name in ("models", "parity", "speed", "stress", "tests"):
        assert outcomes[name].status == "passed", outcomes[name]
    rows = left.rows("stress")
    assert [row["name"].split(": ")[1] for row in rows] == [
        "threads",
        "memory",
        "a process that ends with an open session",
    ]
    sentences = summarize(left, list(outcomes.values())).sentences
    assert any(sentence.startswith("left out: build (") for sentence in sentences)


def test_results_that_differ_under_stress_are_found(settings, world, monkeypatch):
    here("models", settings, 1)
    here("build", settings, 1)
    from emonet_deploy.runtime.backends.tensorrt.session import TensorRTSession

    run, calls = TensorRTSession._run_for, []

    def sometimes(session, images, names):
        results = run(session, images, names)
        calls.append(1)
        if len(calls) == 20:
            results["valence"] = -results["valence"]  # of another face, say: within the range
        return results

    monkeypatch.setattr(TensorRTSession, "_run_for", sometimes)
    outcome = here("stress", settings, 1)
    assert outcome.status == "failed"
    assert "valence is another one than alone" in outcome.line


@pytest.mark.parametrize(
    "name",
    [
        "eager fp32",
        # Half on a processor takes seconds.
        pytest.param("eager fp16", marks=pytest.mark.slow),
        pytest.param("graph fp16", marks=pytest.mark.slow),
    ],
)
def test_each_way_of_pytorch_computes_what_the_reference_does(name, standin8):
    peer = open_gpu_peer(name, load_checkpoint(standin8), "cpu")
    images = np.random.default_rng(0).random((1, 3, 256, 256), np.float32)
    with load_session(standin8, device="cpu") as reference:
        want = reference.run(images)
    assert list(peer.run(images)) == list(TENSOR_OUTPUTS)
    for output, values in peer.run(images, ["valence", "arousal"]).items():
        np.testing.assert_allclose(values, want[output], atol=0.05)


# The processes


def test_a_stage_runs_in_a_process_and_the_next_one_follows(settings):
    """The real children: what runs here runs, and what fails does not end the proof."""
    on_this_machine = replace(settings, device="cuda", checkpoint="standin")
    chosen = {"ceilings": STAGES["ceilings"], "nothing": Stage(lambda *_: None, 10)}
    said = []
    outcomes = command.run_stages(
        on_this_machine, (), 600, command.in_process_of_its_own, said.append, chosen
    )
    assert [outcome.status for outcome in outcomes] == ["left out", "failed"]
    assert "sees no CUDA device" in outcomes[0].line
    assert said[0] == "ceilings ..."
    assert len(stage_table(outcomes).rows) == 2


# The command


def test_without_a_gpu_it_ends_with_2_and_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["prove"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: there is no NVIDIA GPU")
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("status", "code"), [("passed", 0), ("left out", 0), ("failed", 1)])
def test_the_command_writes_one_folder_and_says_how_it_went(
    tmp_path, monkeypatch, settings, status, code
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("emonet_deploy.runtime.hardware.gpu.cuda_device", lambda: L4)
    seen = []

    def run(name, told, limit):
        seen.append((name, limit))
        return Outcome(name, status if name == "speed" else "passed", 1.0, "why")

    monkeypatch.setattr(command, "in_process_of_its_own", run)
    result = CliRunner().invoke(app, ["prove", "--only", "environment,speed", "--budget", "300"])
    assert result.exit_code == code, result.output
    assert seen == [("environment", 15.0), ("speed", 120.0)]
    (folder,) = (tmp_path / "gpu-proof").iterdir()
    assert folder.name.startswith("nvidia-l4-")
    assert {file.name for file in folder.iterdir()} == {"summary.json", "summary.md"}
    assert f"speed\t{status}" in result.stdout
