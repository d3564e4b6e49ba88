"""Every option that takes a number, given numbers that make no sense."""

import os
import time
from typing import get_args

import pytest
import typer.main
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.cli import app

NONSENSE = {
    int: ["99999999999999999999999999", "9" * 5000, "-1", "-99999999999", "1.5", "x", ""],
    float: ["nan", "inf", "-inf", "-1", "1e999", "x", ""],
}


def options():
    """Each command with each of its numeric options."""

    def walk(command, before=()):
        for name, each in getattr(command, "commands", {}).items():
            yield from walk(each, (*before, name))
        if not hasattr(command, "commands"):
            for parameter in command.params:
                kind = parameter.type_descriptor.annotation
                for number in {kind, *get_args(kind)} & set(NONSENSE):
                    if parameter.opts[0].startswith("--") and not parameter.count:
                        yield before, parameter.opts[0], number

    return list(walk(typer.main.get_command(app)))


OPTIONS = options()
NEEDED = {
    "predict": ["a.jpg"], "eval": ["m.onnx"], "parity": ["m.onnx"], "build": ["m.onnx"],
    "triton": ["m.onnx"], "bench": ["m.onnx"], "dataset make": ["d"],
}  # fmt: skip


def test_there_are_such_options():
    assert len(OPTIONS) > 30


@pytest.mark.parametrize(("command", "option", "kind"), OPTIONS)
def test_a_number_that_makes_no_sense_is_one_line_at_once(
    tmp_path, monkeypatch, command, option, kind
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMONET_HOME", os.fspath(tmp_path / "home"))
    write_tiny(tmp_path / "m.onnx")
    for value in NONSENSE[kind]:
        begun = time.process_time()
        arguments = [*command, *NEEDED.get(" ".join(command), []), f"{option}={value}"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2, (value, done.output)
        lines = done.stderr.splitlines()
        assert lines[0].startswith("error: ")
        assert len(lines) == 2, lines
        assert len(lines[0]) < 6000
        assert time.process_time() - begun < 5
