import pytest
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.commands.tune.command import Effort, Goal, _table
from emonet_deploy.runtime.tuning.configuration import Configuration, Measured


def way(**changes):
    about = {
        "purpose": "latency", "backend": "onnx", "file": "m.onnx", "sha256": "0", "precision":
        "fp32", "target": "gpu", "interface": "tensor", "device": "cpu", "threads": 2, "batch": 1,
        "libraries": "",
    }  # fmt: skip
    return Configuration(**about | changes)


def test_all_is_tried_for_both_purposes_and_nothing_is_made_or_repeated_unless_asked_for():
    goal, effort = Goal(), Effort()
    assert set(goal.purpose) == {"latency", "throughput"}
    assert (goal.precision, goal.min_ccc, goal.make) == (None, None, False)
    assert (effort.device, effort.threads, effort.again) == ("auto", (), False)


def test_the_table_says_what_was_chosen_and_how_far_the_others_are():
    best = Measured(way(), 40.0, 44.0, 9, True, "a")
    close = Measured(
        way(file="", backend="torch", threads=None, batch=4), 200.0, 240.0, 9, True, "a"
    )
    dropped = Measured(way(threads=1), 90.0, 100.0, 3, False, "a")
    table = _table([best, close, dropped], close)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["p25 ms"] for row in rows] == ["40.0", "50.0", "90.0"]
    assert [row["p50 ms"] for row in rows] == ["44.0", "60.0", "100.0"]
    assert [row["times best"] for row in rows] == ["1.00", "1.25", "-"]
    assert [row[""] for row in rows] == ["", "chosen", "dropped early"]
    assert [row["file"] for row in rows] == ["m.onnx", "checkpoint", "m.onnx"]
    assert [row["threads"] for row in rows] == ["2", "-", "1"]
    assert [row["batch"] for row in rows] == ["1", "4", "1"]
    assert rows[0]["images/s"] == "22.73"


@pytest.mark.parametrize(
    ("option", "taken", "refused"),
    [
        ("--seconds", ["0.1", "3600"], ["0.09", "3601"]),
        ("--min-ccc", ["0", "1"], ["-0.1", "1.1"]),
        ("--nclass", ["5", "8"], ["6"]),
        ("--threads", ["1"], ["0", "65537"]),
    ],
)
def test_numbers_are_taken_up_to_their_limits(tmp_path, monkeypatch, option, taken, refused):
    monkeypatch.chdir(tmp_path)
    for value, code in [*((v, 1) for v in taken), *((v, 2) for v in refused)]:
        done = CliRunner().invoke(app, ["tune", "--checkpoint", "absent.pth", option, value])
        assert done.exit_code == code, (value, done.output)
        assert list(tmp_path.iterdir()) == []
