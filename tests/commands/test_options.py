"""Groups of options: dataclasses that a command takes and a user sees as options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from emonet_deploy.commands.options import grouped


@dataclass(frozen=True)
class Place:
    panel: ClassVar[str] = "Where"

    folder: Annotated[Path, typer.Option(help="A folder.")]
    depth: Annotated[int, typer.Option("--depth", "-d", min=0)] = 3


@dataclass(frozen=True)
class Look:
    wide: Annotated[bool, typer.Option("--wide")] = False


def run(command, *arguments):
    app = typer.Typer()
    app.command()(grouped(command))
    return CliRunner().invoke(app, list(arguments))


def test_fields_become_options_and_options_the_dataclass():
    seen = []

    def command(place: Place, look: Look, name: str = "x") -> None:
        """Look there."""
        seen.append((place, look, name))

    assert run(command, "--folder", "a/b", "-d", "2", "--wide", "--name", "y").exit_code == 0
    assert run(command, "--folder", "a").exit_code == 0
    assert seen == [
        (Place(Path("a/b"), 2), Look(wide=True), "y"),
        (Place(Path("a"), 3), Look(wide=False), "x"),
    ]
    help_text = run(command, "--help").stdout
    assert "Look there." in help_text
    assert "─ Where ─" in help_text


def test_a_field_without_default_is_required_and_ranges_hold():
    def command(place: Place) -> None:
        raise AssertionError("not to be reached")

    assert run(command).exit_code == 2
    assert run(command, "--folder", "a", "--depth", "-1").exit_code == 2


def test_two_options_of_one_name_are_a_mistake_of_ours():
    def command(place: Place, depth: int = 0) -> None:
        """Never run."""

    with pytest.raises(ValueError, match="depth"):
        grouped(command)
