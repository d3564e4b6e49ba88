"""What an option takes: told by --help, completed by the shell, and enforced with exit code 2."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from emonet_deploy import cli
from emonet_deploy.benchmarks.choices import Peer, Split
from emonet_deploy.commands.process.exit_codes import ExitCode
from emonet_deploy.export.choices import Calibrator, PlanName
from emonet_deploy.runtime.choices import (
    Backend,
    Crop,
    DetectorName,
    Device,
    EngineKind,
    Interface,
    Optimize,
    Precision,
    Target,
)

ENGINES, DEVICES, CLASSES = get_args(Backend), get_args(Device), ("5", "8")
PRECISIONS, TARGETS = get_args(Precision), get_args(Target)

CHOICES = [
    ("export", "--nclass", CLASSES),
    ("export", "--target", TARGETS),
    ("export", "--precision", PRECISIONS),
    ("export", "--io", get_args(Interface)),
    ("export", "--calibrator", get_args(Calibrator)),
    ("export", "--plan", get_args(PlanName)),
    ("build m.onnx", "--engine", get_args(EngineKind)),
    ("build m.onnx", "--backend", get_args(EngineKind)),
    ("parity m.onnx", "--engine", ENGINES),
    ("parity m.onnx", "--device", DEVICES),
    ("bench", "--engine", ENGINES),
    ("bench", "--backend", ENGINES),
    ("bench", "--precision", PRECISIONS),
    ("bench", "--target", TARGETS),
    ("bench", "--peers", get_args(Peer)),
    ("bench", "--nclass", CLASSES),
    ("bench", "--device", DEVICES),
    ("tune", "--for", get_args(Optimize)),
    ("tune", "--engine", ENGINES),
    ("tune", "--precision", PRECISIONS),
    ("tune", "--nclass", CLASSES),
    ("tune", "--device", DEVICES),
    ("eval", "--engine", ("auto", *ENGINES)),
    ("eval", "--precision", PRECISIONS),
    ("eval", "--nclass", CLASSES),
    ("eval", "--split", get_args(Split)),
    ("eval", "--check", ("published",)),
    ("eval", "--device", DEVICES),
    ("predict a.png", "--engine", ("auto", *ENGINES)),
    ("predict a.png", "--precision", PRECISIONS),
    ("predict a.png", "--target", TARGETS),
    ("predict a.png", "--nclass", CLASSES),
    ("predict a.png", "--device", DEVICES),
    ("predict a.png", "--detector", get_args(DetectorName)),
    ("predict a.png", "--crop", get_args(Crop)),
    ("checkpoint fetch", "--nclass", CLASSES),
    ("checkpoint verify x.pth", "--nclass", CLASSES),
    ("checkpoint standin", "--nclass", CLASSES),
    ("dataset make set", "--nclass", CLASSES),
    ("dataset make set", "--device", DEVICES),
]
LISTS = {
    "bench": ("--engine", "--backend", "--precision", "--target", "--peers"),
    "export": ("--precision",),
    "tune": ("--for", "--engine"),
}
"""Options that take several words with commas."""

VALUES = [
    ("bench", "--batch", ("0", "1,b", "-1", "1.5", "1,"), "whole number from 1"),
    ("bench", "--threads", ("0", "two"), "whole number from 1"),
    ("build m.onnx", "--sm", ("89,x", "8.9", "-89"), "whole number from 1"),
    ("build m.onnx", "--level", ("6", "-1", "high"), ""),
    ("build m.onnx", "--max-batch", ("0",), ""),
    ("predict a.png", "--smooth", ("much", "-1", "0", "nan"), "smoothing"),
    ("predict a.png", "--detect-size", ("3",), "32"),
    ("predict a.png", "--min-score", ("2",), "1"),
    ("parity m.onnx", "--threads", ("0",), "1"),
]


def emonet(*arguments):
    return CliRunner().invoke(cli.app, list(arguments))


def refusal(result):
    """The error of a command that was used wrongly; it says where to read on."""
    assert result.exit_code == 2, result.output
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: `emonet ")
    assert hint.endswith(" --help` lists what it takes")
    assert result.stdout == ""
    return error


@pytest.mark.parametrize(("command", "option", "choices"), CHOICES)
def test_a_word_that_is_no_choice_is_refused_with_the_choices(command, option, choices):
    error = refusal(emonet(*command.split(), option, "nonsense"))
    assert option in error
    assert "'nonsense' is not one of" in error
    assert all(f"'{choice}'" in error for choice in choices)


@pytest.mark.parametrize(("command", "option", "choices"), CHOICES)
def test_the_choices_are_in_the_help(command, option, choices):
    name = [part for part in command.split() if "." not in part and part != "set"]
    # Wide enough that no list of choices is broken over two lines.
    text = CliRunner().invoke(cli.app, [*name, "--help"], env={"COLUMNS": "250"}).stdout
    (line,) = [line for line in text.splitlines() if f"{option} " in line or f"{option}," in line]
    assert "|".join(choices) in line


@pytest.mark.parametrize("option", LISTS["bench"])
def test_one_bad_word_in_a_list_is_named(option):
    good = next(choices[0] for _, name, choices in CHOICES[10:15] if name == option)
    assert "'nonsense' is not one of" in refusal(emonet("bench", option, f"{good},nonsense"))


@pytest.mark.parametrize(
    ("command", "option"),
    [(command, option) for command, option, _ in CHOICES if option not in LISTS.get(command, ())],
)
def test_where_one_word_is_taken_two_are_refused(command, option):
    choices = next(words for c, o, words in CHOICES if (c, o) == (command, option))
    assert option in refusal(emonet(*command.split(), option, f"{choices[0]},{choices[-1]}"))


@pytest.mark.parametrize(
    ("command", "option", "value", "words"),
    [(*row[:2], value, row[3]) for row in VALUES for value in row[2]],
)
def test_a_value_out_of_its_range_is_refused(command, option, value, words):
    error = refusal(emonet(*command.split(), f"{option}={value}"))
    assert option in error
    assert words in error


def test_what_is_no_command_option_or_argument_is_refused():
    assert "--nonsense" in refusal(emonet("export", "--nonsense"))
    assert "--nonsense" in refusal(emonet("--nonsense"))
    assert "'nonsense'" in refusal(emonet("nonsense"))
    assert "missing argument" in refusal(emonet("parity"))


def test_no_command_at_all_shows_the_help_with_the_exit_codes():
    result = emonet()
    assert result.exit_code == 2
    assert "Exit codes: 0 ok, 1 error, 2 usage, 3 gate failed, 130 interrupted" in result.stdout


def test_the_documents_tell_every_exit_code():
    page = Path(__file__).parents[2] / "docs/reference/conventions.md"
    readme = page.read_text(encoding="utf-8")
    told = re.findall(
        r"^\| (\d+) \| ", readme.partition("| exit code |")[2].partition("\n\n")[0], re.M
    )
    assert list(map(int, told)) == [code.value for code in ExitCode]


def test_predict_shows_its_options_in_groups():
    text = CliRunner().invoke(cli.app, ["predict", "--help"]).stdout
    headings = [line.split()[1] for line in text.splitlines() if line.startswith("╭─ ")]
    assert headings == ["Arguments", "Options", "Model", "Faces", "Clips", "Results"]


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("predict --precision fp", {"fp32", "fp16"}),
        ("predict --smooth ", {"authors", "none"}),
        ("bench --engine torch,o", {"torch,onnx", "torch,openvino"}),
        ("eval --split ", {"test", "val"}),
    ],
)
def test_the_shell_completes_choices(typed, completed):
    """As bash asks, in a process of its own."""
    words = f"emonet {typed}"
    environment = os.environ | {
        "_EMONET_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    code = "import sys; sys.argv[0] = 'emonet'; from emonet_deploy.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert set(done.stdout.split()) == completed, done.stderr
