from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.commands import prepare_artifacts
from emonet_deploy.commands.export import print_calibration
from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint

RECORD = {
    "float_layers": ["a"], "int8_share": 0.876, "faces": 128, "source": "procedural",
    "sensitivity": [["a", 100, 0.01], ["b", 300, 0.2], ["c", 600, 0.0034]],
}  # fmt: skip


def test_layers_are_listed_on_request_the_noisiest_first(capsys):
    print_calibration(RECORD, True)
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[1:4] == [
        ["b", "30.00%", "0.2", "int8"],
        ["a", "10.00%", "0.01", "float"],
        ["c", "60.00%", "0.0034", "int8"],
    ]
    print_calibration(RECORD, False)
    assert capsys.readouterr().out.splitlines() == [
        "87.6% of the multiply-accumulates in int8, 1 of 3 convolutions in float, calibrated on "
        "128 procedural faces"
    ]


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Type the command until the first file would be made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(b"weights")

    def export(*options):
        asked = []

        def checked(*arguments):
            asked.append(arguments)
            raise SystemExit(9)

        source = Checkpoint(tmp_path / "w.pth", "standin")
        monkeypatch.setattr(prepare_artifacts, "resolve_checkpoint", lambda *_: source)
        monkeypatch.setattr(prepare_artifacts, "export_checked", checked)
        monkeypatch.setattr(
            prepare_artifacts, "load_calibration", lambda *given: SimpleNamespace(given=given)
        )
        return CliRunner().invoke(app, ["export", *options]), asked

    return export


def test_float32_for_gpus_of_eight_classes_is_the_default(export):
    _, ((nclass, _, out, _, target, precision, interface, faces, judging, plan),) = export()
    assert (nclass, str(out), target, precision) == (8, "artifacts", "gpu", "fp32")
    assert (interface, faces, plan) == ("tensor", None, "measured")
    assert not judging.keep


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (["--precision", "int8"], (None, "standin", None, "minmax")),
        (["--precision", "int8", "--int8-budget", "0"], (None, "standin", 0.0, "minmax")),
        (["--precision", "fp16"], None),
        (["--precision", "fp32", "--calibration", "f"], None),
    ],
)
def test_faces_are_read_where_they_are_needed(export, options, given):
    _, (arguments,) = export(*options)
    faces = arguments[7]
    assert (None if faces is None else faces.given) == given


def test_faces_for_half_are_read_where_they_are_named(export):
    _, (arguments,) = export("--precision", "fp16", "--calibration", "f")
    assert str(arguments[7].given[0]) == "f"


@pytest.mark.parametrize(("value", "runs"), [("0", 1), ("1", 1), ("-0.1", 0), ("1.1", 0)])
def test_a_budget_is_a_share(export, value, runs):
    done, asked = export("--precision", "int8", "--int8-budget", value)
    assert len(asked) == runs
    assert (done.exit_code == 2) == (not runs)
