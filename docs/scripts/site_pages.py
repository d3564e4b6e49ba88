"""Pages of the site that are made from the code when it is built, so that they cannot be old.

MkDocs calls ``on_files``. The drawing of the architecture comes from the imports, the page of the
commands from their options, the pages of the API from what each file makes public.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from emonet_deploy.cli import app
from emonet_deploy.export.model_card import render_card
from emonet_deploy.runtime.metadata import ModelInfo

__all__ = ["on_files", "on_page_markdown"]

_ROOT: Final = Path(__file__).parents[2]
_API: Final = {
    "index": ("The face of the package", ("__init__", "errors")),
    "runtime": ("Running artifacts", ("runtime",)),
    "export": ("Making artifacts", ("export",)),
    "benchmarks": ("Measuring", ("benchmarks",)),
    "batch": ("Very many files", ("batch",)),
    "emonet_ref": ("The reference", ("emonet_ref",)),
}

sys.path.insert(0, str(Path(__file__).parent))
from import_graph import draw, read_imports  # noqa: E402 - a neighbour, in no package


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    pages = {
        "architecture.svg": draw(read_imports()),
        "reference/model-card.md": _card(),
        "reference/commands.md": "\n".join(_commands()),
        **{
            f"reference/api/{name}.md": "\n".join(_api(title, rooms))
            for name, (title, rooms) in _API.items()
        },
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the drawing where a page asks for it."""
    return markdown.replace(
        "<!-- drawing -->", "![Every folder above its imports](architecture.svg)"
    )


def _card() -> str:
    info = ModelInfo(8, "original", inputs=(), outputs=())
    unknown = {"n": 96, "agreement": 1.0, "ccc": {"valence": 1.0, "arousal": 1.0}, "gates": {}}
    text = render_card("emonet_8.fp32.onnx", info, unknown)
    shown = "## What it is" + text.partition("## What it is")[2]
    note = "`emonet export --card` writes this beside a model, with its hash and its proof.\n\n"
    return f"# Model card\n\n{note}{shown}"


def _api(title: str, rooms: tuple[str, ...]) -> Iterator[str]:
    yield f"# {title}\n"
    for room in rooms:
        folder = _ROOT / room
        for file in sorted(folder.rglob("*.py")) if folder.is_dir() else [_ROOT / f"{room}.py"]:
            if file.name == "__init__.py" and file.parent != _ROOT:
                doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
                yield f"## `{file.parent.relative_to(_ROOT).as_posix()}/`\n\n{doc}\n"
            elif _public(file):
                parts = file.relative_to(_ROOT).with_suffix("").parts
                module = ".".join(("emonet_deploy", *(p for p in parts if p != "__init__")))
                yield f"## `{module}`\n\n::: {module}\n    options: {{heading_level: 3}}\n"


def _public(file: Path) -> bool:
    return "__all__" in file.read_text(encoding="utf-8")


def _commands() -> Iterator[str]:
    yield "# Commands and their options\n"
    yield "What `emonet COMMAND --help` prints.\n"
    yield from _command(typer.main.get_command(app), ("emonet",))


def _command(command: Any, path: tuple[str, ...]) -> Iterator[str]:  # noqa: ANN401 - typer's own
    if children := getattr(command, "commands", None):
        for name in sorted(children):
            yield from _command(children[name], (*path, name))
        return
    yield f"## `{' '.join(path)}`\n\n{command.help}\n"
    yield "| option | takes | default | what it is |\n|---|---|---|---|"
    for option in command.params:
        if option.name == "help":
            continue
        names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
        takes = option.display_type(typer.Context(command)).replace("|", ", ").strip("<>")
        default = "" if option.default in (None, False) else f"`{option.default}`"
        about = (getattr(option, "help", None) or "").replace("|", "\\|")
        yield f"| {names} | {takes} | {default} | {about} |"
    yield ""
