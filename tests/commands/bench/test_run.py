"""What is measured against what; the measuring itself has tests of its own."""

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.bench_rows import INT8, ROW
from helpers.fake_session import FakeSession

from emonet_deploy.commands.bench import run as module
from emonet_deploy.commands.bench.run import BenchPlan, measure, write_files
from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint
from emonet_deploy.errors import InputError

WEIGHTS, MODEL = Path("w.pth"), Path("m.onnx")
PLAN = BenchPlan(
    Checkpoint(WEIGHTS, "standin"), [(MODEL, "onnx")], (), (1, 8), (None,), "auto", False, 2.5, 6,
    Path("artifacts"),
)  # fmt: skip


@pytest.fixture
def bench(monkeypatch):
    """Plan a run; return what was loaded, and what would have been measured against what."""
    state = {"gpus": 0}

    def run(plan):
        loaded, measured = [], []

        def load(path, engine=None, device="auto", threads=None, graph=None):
            loaded.append((path, engine, device, threads, graph))
            return FakeSession()

        def run_bench(reference, candidates, batches, crops, threads, seconds, say):
            measured.append((reference, candidates, batches, len(crops), threads, seconds))
            yield from [ROW] * len(candidates)

        monkeypatch.setattr(module, "load_session", load)
        monkeypatch.setattr(module, "run_bench", run_bench)
        monkeypatch.setattr(module, "cuda_device_count", lambda: state["gpus"])
        said = []
        rows = list(measure(plan, said.append))
        return rows, loaded, measured, said

    run.state = state
    return run


def test_artifacts_are_measured_against_the_reference_on_the_processor(bench):
    rows, loaded, ((reference, candidates, *rest),), said = bench(PLAN)
    assert rows == [ROW]
    assert loaded == [(WEIGHTS, None, "cpu", None, None), (MODEL, "onnx", "auto", None, None)]
    assert (reference.path, [each.path for each in candidates]) == (WEIGHTS, [MODEL])
    assert rest == [(1, 8), 6, None, 2.5]
    assert "reference: PyTorch, fake" in said


def test_each_number_of_threads_is_a_run_of_its_own(bench):
    rows, loaded, measured, _ = bench(replace(PLAN, threads=(4, 1)))
    assert len(rows) == 2
    assert [threads for *_, threads, _ in measured] == [4, 1]
    assert [threads for *_, threads, _ in loaded] == [4, 4, 1, 1]


def test_the_checkpoint_among_the_artifacts_is_the_reference_itself(bench):
    plan = replace(PLAN, artifacts=[(WEIGHTS, "torch"), (MODEL, "onnx")])
    _, loaded, ((reference, candidates, *_),), _ = bench(plan)
    assert candidates[0].session is reference.session
    assert candidates[1].session is not reference.session
    assert len(loaded) == 2


@pytest.mark.parametrize(
    ("gpus", "device", "own"),
    [(1, "auto", True), (1, "cpu", False), (0, "auto", False), (2, "cuda", True)],
)
def test_on_a_gpu_the_checkpoint_is_loaded_there_as_well(bench, gpus, device, own):
    bench.state["gpus"] = gpus
    plan = replace(PLAN, artifacts=[(WEIGHTS, "torch")], device=device)
    _, loaded, ((reference, candidates, *_),), _ = bench(plan)
    assert (candidates[0].session is not reference.session) == own
    assert [entry[2] for entry in loaded] == (["cpu", device] if own else ["cpu"])


def test_what_is_named_twice_is_measured_once_and_graphs_are_asked_for(bench):
    plan = replace(PLAN, artifacts=[(MODEL, "onnx"), (MODEL, "onnx"), (MODEL, "openvino")],
                   cuda_graph=True)  # fmt: skip
    _, loaded, ((_, candidates, *_),), _ = bench(plan)
    assert len(candidates) == 2
    assert [entry[4] for entry in loaded] == [None, True, True]


def test_a_served_model_has_no_file(bench):
    plan = replace(PLAN, artifacts=[("http://x/v2/models/emonet", "v2")])
    _, _, ((_, (candidate,), *_),), _ = bench(plan)
    assert candidate.path is None


ABOUT = {"cpu": "A CPU", "cores": 4, "date": "2026-01-02T03:04:05", "toolkit": "9.9"}


def test_reports_say_where_and_when_it_was_measured(tmp_path):
    write_files([ROW, INT8], ABOUT, tmp_path / "t.md", tmp_path / "p.svg")
    text = (tmp_path / "t.md").read_text()
    assert text.endswith("\n\nMeasured in turns on A CPU, 4 cores, 2026-01-02, toolkit 9.9.\n")
    assert text.count("| onnx") == 2
    picture = (tmp_path / "p.svg").read_text()
    assert "A CPU, 4 cores, 2026-01-02, toolkit 9.9" in picture
    assert picture.startswith("<svg")


def test_only_the_reports_that_were_asked_for_are_written(tmp_path):
    write_files([ROW], ABOUT, None, None)
    assert list(tmp_path.iterdir()) == []
    write_files([ROW], ABOUT, None, tmp_path / "p.svg")
    assert [file.name for file in tmp_path.iterdir()] == ["p.svg"]
    with pytest.raises(InputError, match="cannot write"):
        write_files([ROW], ABOUT, tmp_path, None)
