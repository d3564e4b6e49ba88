"""What `emonet batch` asks of a run; the run itself has tests of its own."""

from types import SimpleNamespace

import pytest
from helpers.fake_session import FakeSession
from helpers.option_limits import check_limits
from typer.testing import CliRunner

pytest.importorskip("ray")

from emonet_deploy.batch import run as batch_run
from emonet_deploy.cli import app


@pytest.fixture
def batch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"never read")
    state = {"unreadable": 0, "checkpoint": "standin"}

    def batch(*options, out="rows"):
        given, loaded = [], []

        def run(files, rows, reading, info, cluster, progress, segments):
            given.append(SimpleNamespace(
                files=files, reading=reading, cluster=cluster, segments=segments
            ))  # fmt: skip
            return SimpleNamespace(
                rows=1, files=1, faces=2, reasons=[("b.jpg", "no picture")] * state["unreadable"],
                unreadable=state["unreadable"],
            )  # fmt: skip

        def load(*arguments):
            loaded.append(arguments)
            return FakeSession(checkpoint=state["checkpoint"])

        monkeypatch.setattr(batch_run, "run_batch", run)
        monkeypatch.setattr("emonet_deploy.runtime.backends.registry.load_session", load)
        done = CliRunner().invoke(
            app, ["batch", "a.jpg", "--model", "m.onnx", "--out", out, *options]
        )
        return done, given

    batch.state = state
    return batch


def test_this_machine_with_a_thread_for_each_worker_is_the_default(batch):
    done, (given,) = batch()
    assert done.exit_code == 0, done.output
    cluster = given.cluster
    assert (cluster.address, cluster.workers) == ("local", None)
    assert (cluster.cpus, cluster.gpus, cluster.block, cluster.finders) == (1, 0.0, 64, None)
    assert given.reading.threads == 1
    assert given.reading.batch == 8
    assert given.segments is None
    assert "1 of 1 files, 2 faces, in rows" in done.stdout
    assert "untrained" in done.stderr


def test_a_worker_has_as_many_threads_as_cpus_unless_told_otherwise(batch):
    assert batch("--cpus", "4")[1][0].reading.threads == 4
    assert batch("--cpus", "4", "--threads", "2")[1][0].reading.threads == 2


@pytest.mark.parametrize(
    ("options", "segment", "overlap", "block"),
    [
        (["--segment", "60"], 60, 2, 1),
        (["--segment", "60", "--overlap", "0"], 60, 0, 1),
        (["--segment", "60", "--overlap", "5", "--block", "3"], 60, 5, 3),
    ],
)
def test_segments_overlap_by_two_seconds_and_are_written_one_by_one(
    batch, options, segment, overlap, block
):
    done, (given,) = batch(*options)
    assert done.exit_code == 0, done.output
    assert (given.segments.segment, given.segments.overlap) == (segment, overlap)
    assert given.cluster.block == block


def test_an_overlap_needs_segments(batch):
    done, given = batch("--overlap", "1")
    assert (done.exit_code, given) == (1, [])
    assert "--overlap goes with --segment" in done.stderr


def test_files_that_cannot_be_read_are_exit_code_1_and_named(batch):
    batch.state["unreadable"] = 2
    done, _ = batch()
    assert done.exit_code == 1
    assert done.stderr.count("unreadable: b.jpg: no picture") == 2
    assert "error: 2 of 1 files" in done.stderr


def test_trained_weights_have_no_note(batch):
    batch.state["checkpoint"] = "original"
    assert "untrained" not in batch()[0].stderr


@pytest.mark.parametrize(
    ("option", "taken", "refused"),
    [
        ("--workers", ["1"], ["0"]),
        ("--cpus", ["1"], ["0"]),
        ("--gpus", ["0"], ["-0.1"]),
        ("--block", ["1"], ["0"]),
        ("--finders", ["0"], ["-1"]),
        ("--batch", ["1"], ["0"]),
        ("--segment", [], ["-1"]),
    ],
)
def test_numbers_are_taken_up_to_their_limits(batch, option, taken, refused):
    check_limits(batch, option, taken, refused)
