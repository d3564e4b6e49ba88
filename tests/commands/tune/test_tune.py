"""`emonet tune`: what may be chosen, what is measured again, and who uses the choice."""

import json
from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
import pytest
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.benchmarks.speed.latency import Timing
from emonet_deploy.cli import app
from emonet_deploy.commands.tune.artifacts import Floor, models
from emonet_deploy.commands.tune.run import Measuring, merge, tune_for
from emonet_deploy.commands.tune.ways import configurations, thread_counts, to_measure
from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint
from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.choices import Backend
from emonet_deploy.runtime.metadata import artifact_name, read_info, write_info
from emonet_deploy.runtime.tuning.configuration import Measured
from emonet_deploy.runtime.tuning.machine import Machine
from emonet_deploy.runtime.tuning.record import TuningRecord, read_record, record_path

ALL = get_args(Backend)
GATES = {"ccc_valence": {"value": 0.995}, "ccc_arousal": {"value": 0.992}}


def write_judged(folder, precision="fp32", target="gpu", passed=True, **changes):
    """Write a tiny model under an artifact's name, as if it had been judged."""
    path = folder / artifact_name(8, precision, target)
    write_tiny(path, precision, target=target)
    info = read_info(path)
    write_info(path, replace(info, parity={"passed": passed, "gates": GATES}, **changes))
    return path


@pytest.fixture
def source(tmp_path):
    checkpoint = tmp_path / "weights.pth"
    checkpoint.write_bytes(b"never loaded")
    return Checkpoint(checkpoint, "standin")


@pytest.fixture
def ways(tmp_path, source):
    """The ways to run two files on a CPU of two processors."""
    files = [write_judged(tmp_path), write_judged(tmp_path, target="cpu")]
    return configurations(source, files, "latency", ALL, on_gpu=False, threads=[2, 1])


def measured(ways, ms, date="a", final=True):
    return {way: Measured(way, ms, ms, 7, final, date) for way in ways}


def test_every_file_is_tried_on_each_engine_with_each_number_of_threads(ways):
    tried = {(way.backend, way.file, way.threads) for way in ways}
    files = ("emonet_8.fp32.onnx", "emonet_8.fp32.cpu.onnx")
    expected = {(b, f, t) for b in ("onnx", "openvino") for f in files for t in (1, 2)}
    assert tried == expected | {("torch", "", 1), ("torch", "", 2)}
    assert len(ways) == len(tried)
    assert ways[-1].backend == "torch"  # the slowest comes last


def test_throughput_is_of_batches_with_an_image_for_each_thread(tmp_path, source):
    files = [write_judged(tmp_path)]
    ways = configurations(source, files, "throughput", ALL, on_gpu=False, threads=[6, 3, 1])
    assert {(way.threads, way.batch) for way in ways} == {(6, 6), (3, 6)}
    alone = configurations(source, files, "throughput", ALL, on_gpu=False, threads=[1])
    assert {(way.threads, way.batch) for way in alone} == {(1, 4)}


def test_threads_to_try():
    assert thread_counts(1) == [1]
    assert thread_counts(2) == [2, 1]
    assert thread_counts(8) == [8, 4, 1]


def test_models_that_are_made():
    assert models(["fp32"], False, False) == [("fp32", "gpu"), ("fp32", "cpu")]
    assert models(["fp32", "fp16", "int8"], False, False) == [("fp32", "gpu"), ("fp32", "cpu")]
    assert models(["fp32"], True, False) == [("fp32", "gpu")]
    assert ("int8", "cpu") in models(["fp32", "fp16", "int8"], False, True)
    assert ("fp16", "gpu") not in models(["fp32", "fp16", "int8"], False, True)


@pytest.mark.parametrize(
    ("floor", "changes", "words"),
    [
        (Floor(), {}, ""),
        (Floor(), {"precision": "int8"}, "below fp32"),
        (Floor("int8"), {"precision": "int8"}, ""),
        (Floor("int8", 0.99), {"precision": "int8"}, ""),
        (Floor("int8", 0.993), {"precision": "int8"}, "ccc_arousal is 0.992, below 0.993"),
        (Floor("int8", 0.999), {"precision": "fp32"}, ""),
        (Floor("int8", 0.9), {"precision": "int8", "parity": {"passed": True}}, "None"),
        (Floor(), {"parity": None}, "never judged"),
        (Floor(), {"parity": {"passed": False}}, "a gate failed"),
    ],
)
def test_what_is_not_exact_enough_is_refused_with_the_reason(tmp_path, floor, changes, words):
    info = replace(read_info(write_judged(tmp_path)), **changes)
    refusal = floor.refuses(info)
    assert words in refusal
    assert bool(refusal) == bool(words)


def test_known_times_of_one_run_are_not_measured_again(ways):
    known = measured(ways[:2], 100.0) | measured(ways[2:], 300.0, final=False)
    assert to_measure(ways, known) == []


def test_what_is_new_is_measured_with_the_best_of_what_is_known(ways):
    known = measured(ways[:2], 100.0) | measured(ways[2:-1], 300.0, final=False)
    assert to_measure(ways, known) == [*ways[:2], ways[-1]]


def test_the_best_of_two_runs_are_measured_together(ways):
    known = measured(ways[:1], 100.0) | measured(ways[1:], 101.0, date="b")
    assert to_measure(ways, known) == ways


def test_what_was_only_dropped_early_is_measured_anew(ways):
    assert to_measure(ways, measured(ways, 100.0, final=False)) == ways


def test_a_choice_follows_the_times_and_files_that_ran(tmp_path, source, ways):
    costs = {"onnx": 82.0, "openvino": 96.0, "torch": 150.0}

    def recorded(calls, warmup, seconds, *, pause, rounds):
        return {
            way: Timing((costs[way.backend] * (1.3 if way.threads == 1 else 1),) * rounds)
            for way in calls
        }

    said = []
    ways = [way for way in ways if way.backend != "torch"]  # whose file here is none
    how = Measuring(tmp_path, source.path, 1.0, recorded, said.append)
    rows, chosen = tune_for("latency", ways, [], how)
    way = chosen.configuration
    assert (way.backend, way.target, way.threads) == ("onnx", "gpu", 2)
    assert {row.configuration for row in rows} == set(ways)
    again, same = tune_for("latency", ways, rows, how)
    assert same == chosen
    assert again == rows
    assert said[-1] == "latency: 0 ways to measure, 8 known from before"


def test_where_nothing_runs_the_doctor_is_named(tmp_path, source, ways):
    how = Measuring(tmp_path, source.path, 1.0, lambda *a, **k: {}, lambda _: None)
    with pytest.raises(BackendError, match="nothing here runs"):
        tune_for("latency", ways[-1:], [], how)


def test_rows_that_were_not_measured_again_are_kept_and_older_files_are_not(ways):
    here = Machine.here()
    old = TuningRecord(8, "standin", here, tuple(measured(ways, 100.0).values()))
    newer = replace(ways[0], sha256="1" * 64)
    fresh = list(measured([newer], 90.0).values())
    rows = [row.configuration for row in merge(old, fresh, here)]
    assert rows == [newer, *ways[1:]]
    assert merge(old, fresh, replace(here, processors=99)) == tuple(fresh)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, standin8):
    """A folder tuned for latency, and what the command said."""
    out = tmp_path_factory.mktemp("tuned")
    for target in ("gpu", "cpu"):
        write_judged(out, target=target)
    write_judged(out, "int8")
    return out, tune(out)


def tune(out, *options):
    """Tune for latency, without PyTorch, which takes a second for each run of the whole network."""
    arguments = ["tune", "--checkpoint", "standin", "--out", str(out), "--for", "latency"]
    effort = ["--engine", "onnx,openvino", "--seconds", "0.1", "--json", str(out / "t.json")]
    done = CliRunner().invoke(app, [*arguments, *effort, *options])
    assert done.exit_code == 0, done.output
    return done


def test_the_command_writes_the_record_and_says_what_it_chose(tuned):
    out, done = tuned
    record = read_record(record_path(out, 8))
    way = record.choice["latency"].configuration
    assert way.precision == "fp32"
    assert done.stdout.splitlines()[-1].startswith(f"latency: {way.backend} on {way.file}")
    assert "left out" not in done.stderr
    written = json.loads((out / "t.json").read_text())
    assert written["choice"]["latency"]["file"] == way.file
    assert written["environment"]["cores"]
    assert len(written["rows"]) == len(record.rows)


def test_a_second_time_nothing_is_measured(tuned):
    out, _ = tuned
    before = read_record(record_path(out, 8))
    done = tune(out)
    assert "latency: 0 ways to measure" in done.stderr
    assert read_record(record_path(out, 8)) == before


def test_what_was_measured_is_kept_when_the_rest_is_interrupted(tuned, tmp_path, monkeypatch):
    def stopped(purpose, *given):
        if purpose == "throughput":
            raise KeyboardInterrupt
        return tune_for(purpose, *given)

    for file in tuned[0].glob("*.onnx"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr("emonet_deploy.commands.tune.run.tune_for", stopped)
    options = ("--for", "latency,throughput", "--engine", "onnx", "--seconds", "0.1")
    done = CliRunner().invoke(
        app,
        ["tune", "--checkpoint", "standin", "--out", str(tmp_path), "--threads", "1", *options],
    )
    assert done.exit_code == 130, done.output
    assert set(read_record(record_path(tmp_path, 8)).choice) == {"latency"}


def test_int8_is_a_candidate_only_when_it_is_allowed(tuned, tmp_path):
    out, _ = tuned
    for file in out.glob("*.onnx"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tune(tmp_path, "--min-ccc", "0.99", "--threads", "1")
    rows = read_record(record_path(tmp_path, 8)).rows
    assert "int8" in {row.configuration.precision for row in rows}


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), np.full((256, 256, 3), 127, np.uint8))
    return path


def predict(out, picture, *options):
    arguments = ["predict", str(picture), "--detector", "none", "--checkpoint", "standin"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(out), "--batch", "1", *options])
    assert done.exit_code == 0, done.output
    return [line for line in done.stderr.splitlines() if "tune" in line]


def test_predict_uses_the_choice_and_says_so_in_a_line(tuned, picture):
    out, _ = tuned
    way = read_record(record_path(out, 8)).choice["latency"].configuration
    (line,) = predict(out, picture)
    assert line.startswith(f"tuned for latency: {way.backend} on {way.file}")
    (line,) = predict(out, picture, "--target", "gpu", "--threads", "1")
    assert "on emonet_8.fp32.onnx with 1 threads" in line
    assert predict(out, picture, "--engine", "onnx") == []
    assert predict(out, picture, "--model", str(out / "emonet_8.fp32.onnx")) == []


def test_predict_says_why_a_choice_holds_no_more(tuned, picture, tmp_path):
    out, _ = tuned
    for file in [*out.glob("*.onnx"), record_path(out, 8)]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for target in ("gpu", "cpu"):
        write_judged(tmp_path, target=target, tools={"torch": "another"})
    (line,) = predict(tmp_path, picture)
    assert "is not used" in line
    assert "has changed since" in line
    record_path(tmp_path, 8).write_text("{")
    assert "damaged" in predict(tmp_path, picture)[0]


def test_eval_uses_what_fits_its_purpose(tuned, picture):
    out, _ = tuned
    table = picture.with_suffix(".csv")
    table.write_text("path,expression,valence,arousal\nface.png,0,0.1,0.1\nface.png,1,0.2,0.3\n")
    arguments = ["eval", "--checkpoint", "standin", "--out", str(out), "--data", str(table)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    # It was tuned for one image at a time only.
    assert "is not used: nothing in it is what was asked for" in done.stderr
