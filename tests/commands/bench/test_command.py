"""`emonet bench` as typed; what it loads and measures is pretended."""

import json

import pytest
from helpers.bench_rows import INT8, ROW
from helpers.fake_session import FakeSession
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.commands import prepare_artifacts
from emonet_deploy.commands.bench import run as bench_run
from emonet_deploy.commands.bench import served
from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "m.onnx")
    (tmp_path / "w.pth").write_bytes(b"weights")
    return tmp_path


@pytest.fixture
def emonet(here, monkeypatch):
    """Type a command; return how it ended, the plan, and what was made for it."""

    def emonet(*arguments, identity="standin"):
        plans, made, resolved = [], [], []

        def measure(plan, say):
            plans.append(plan)
            yield from (ROW, INT8)

        def obtain(engines, precisions, nclass, source, out, say, targets=(), optimize=None):
            made.append((list(engines), list(precisions), nclass, list(targets), optimize))
            return [(here / "m.onnx", "onnx")]

        def resolve(name, nclass, say):
            resolved.append((name, nclass))
            return Checkpoint(here / "w.pth", identity)

        monkeypatch.setattr(bench_run, "measure", measure)
        monkeypatch.setattr(prepare_artifacts, "obtain", obtain)
        monkeypatch.setattr(prepare_artifacts, "resolve_checkpoint", resolve)
        monkeypatch.setattr(
            prepare_artifacts, "choose_reference", lambda *_: Checkpoint(here / "w.pth", identity)
        )
        done = CliRunner().invoke(app, ["bench", *map(str, arguments)])
        return done, plans, made, resolved

    return emonet


def test_without_artifacts_those_of_the_options_are_made_and_the_published_weights_taken(emonet):
    done, (plan,), made, resolved = emonet()
    assert done.exit_code == 0, done.output
    assert made == [(["torch", "onnx"], ["fp32"], 8, ["gpu"], "latency")]
    assert resolved == [("original", 8)]
    assert (plan.threads, plan.batches, plan.seconds, plan.faces) == ((None,), (1,), 5.0, 32)


@pytest.mark.parametrize(
    ("batches", "purpose"), [("1", "latency"), ("1,8", "throughput"), ("2", "throughput")]
)
def test_engines_are_made_for_the_largest_batch(emonet, batches, purpose):
    _, _, (made,), _ = emonet("--batch", batches, "--checkpoint", "standin", "--engine", "onnx")
    assert made[-1] == purpose
    assert made[0] == ["onnx"]


def test_artifacts_that_are_named_are_measured_against_what_they_came_from(emonet, here):
    done, (plan,), made, resolved = emonet("m.onnx")
    assert done.exit_code == 0, done.output
    assert (made, resolved) == ([], [])
    assert [(str(path), backend) for path, backend in plan.artifacts] == [("m.onnx", "onnx")]
    _, _, _, resolved = emonet("m.onnx", "--checkpoint", "standin")
    assert resolved == [("standin", 8)]


def test_rows_are_printed_and_written(emonet, here):
    done, *_ = emonet("m.onnx", "--json", "b.json", "--markdown", "b.md", "--plot", "b.svg")
    assert done.exit_code == 0, done.output
    written = json.loads((here / "b.json").read_text())
    assert [row["precision"] for row in written["rows"]] == ["fp32", "int8"]
    assert written["environment"]["cores"]
    assert (here / "b.md").exists()
    assert (here / "b.svg").exists()
    heads = [line for line in done.stdout.splitlines() if line.startswith("engine\t")]
    assert len(heads) == 1  # no engine's own times


def test_an_older_run_is_compared_with_and_read_first(emonet, here):
    emonet("m.onnx", "--json", "old.json")
    done, *_ = emonet("m.onnx", "--compare", "old.json")
    assert done.exit_code == 0, done.output
    plain, *_ = emonet("m.onnx")
    assert len(done.stdout.splitlines()) > len(plain.stdout.splitlines())
    (here / "old.json").write_text("{")
    done, plans, *_ = emonet("m.onnx", "--compare", "old.json")
    assert (done.exit_code, plans) == (1, [])


def test_peers_need_a_number_of_threads_and_faces_that_suit_the_weights(emonet, monkeypatch):
    from emonet_deploy.benchmarks.speed import other_runtimes

    monkeypatch.setattr(other_runtimes, "require_peers", lambda names: None)
    peers = other_runtimes.quantized(list(other_runtimes.PEERS))
    (int8, *_) = peers
    done, *_ = emonet("--peers", int8)
    assert (done.exit_code, "--peers needs --threads" in done.stderr) == (1, True)
    done, plans, *_ = emonet("--peers", int8, "--threads", "2")
    assert done.exit_code == 0, done.output
    assert plans[0].threads == (2,)
    done, plans, *_ = emonet("--peers", int8, "--threads", "2", identity="original")
    assert (done.exit_code, plans) == (1, [])
    assert "suit the stand-in alone" in done.stderr
    (plain, *_) = [name for name in other_runtimes.PEERS if name not in peers]
    done, *_ = emonet("--peers", plain, "--threads", "2", identity="original")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(("threads", "number"), [([], None), (["--threads", "3,1"], 3)])
def test_a_server_is_measured_beside_the_artifact_and_nothing_else(
    emonet, here, monkeypatch, threads, number
):
    calls = []

    def load(path, backend, device, count):
        calls.append((str(path), backend, device, count))
        return FakeSession()

    def bench_served(url, session, connections, seconds, token, say):
        calls.append((url, tuple(connections), seconds, token))
        return []

    monkeypatch.setattr("emonet_deploy.runtime.backends.registry.load_session", load)
    monkeypatch.setattr(served, "bench_served", bench_served)
    monkeypatch.setenv("EMONET_TOKEN", "word")
    done, plans, made, _ = emonet("m.onnx", "--serve", "http://x/v1/crop", "--json", "s.json",
                                  *threads)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert calls == [("m.onnx", "onnx", "auto", number), ("http://x/v1/crop", (16,), 5.0, "word")]
    assert (plans, made) == ([], [])
    assert json.loads((here / "s.json").read_text())["rows"] == []
    calls.clear()
    done, plans, made, _ = emonet("--serve", "http://x/v1/crop", "--checkpoint", "standin")
    assert done.exit_code == 0, done.output
    assert len(made) == 1
    assert calls[0][0].endswith("m.onnx")
