from pathlib import Path

import pytest
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.commands.eval.options import Gates, Machines, Samples
from emonet_deploy.errors import InputError

DATA = Samples(data=Path("d"))


def test_the_paper_protocol_is_the_default():
    samples = Samples()
    assert samples.flip is True  # the published figures are with test-time flip
    assert samples.split == "test"
    assert samples.limit is None
    assert samples.files == []
    assert Gates().allow_missing is False
    assert Machines() == Machines(None, None, None)


def test_predictions_have_a_note_beside_them_of_what_they_were_made_with():
    assert Samples(predictions=Path("x/p.csv")).files == [Path("x/p.csv"), Path("x/p.csv.json")]


@pytest.mark.parametrize(
    "gates",
    [
        Gates(),
        Gates(check="published"),
        Gates(check="published", tolerance=0.0),
        Gates(against="reference"),
        Gates(against="m.onnx", max_drop=0.0),
    ],
)
def test_gates_that_go_together_are_taken(gates):
    gates.check_against(DATA)


@pytest.mark.parametrize(
    ("gates", "samples", "words"),
    [
        (Gates(check="published"), Samples(), "needs --data"),
        (Gates(tolerance=0.0), DATA, "--tolerance goes with --check"),
        (Gates(tolerance=0.1, against="reference"), DATA, "--tolerance goes with --check"),
        (Gates(max_drop=0.0), DATA, "--max-drop goes with --against"),
        (Gates(max_drop=0.1, check="published"), DATA, "--max-drop goes with --against"),
    ],
)
def test_gates_that_do_not_are_told(gates, samples, words):
    with pytest.raises(InputError, match=words):
        gates.check_against(samples)


@pytest.mark.parametrize(
    ("options", "taken", "refused"),
    [
        (["--batch"], ["1", "4096"], ["0", "4097"]),
        (["--workers"], ["1", "256"], ["0", "257"]),
        (["--limit"], ["1"], ["0"]),
        (["--check", "published", "--tolerance"], ["0"], ["-0.01"]),
        (["--against", "x.onnx", "--max-drop"], ["0"], ["-0.01"]),
        (["--ray", "local", "--rows", "r", "--ray-workers"], ["1"], ["0"]),
        (["--nclass"], ["5", "8"], ["6"]),
    ],
)
def test_numbers_are_taken_up_to_their_limits(tmp_path, monkeypatch, options, taken, refused):
    monkeypatch.chdir(tmp_path)
    for value, code in [*((v, 1) for v in taken), *((v, 2) for v in refused)]:
        done = CliRunner().invoke(app, ["eval", "no.onnx", "--data", "no.csv", *options, value])
        assert done.exit_code == code, (value, done.output)
