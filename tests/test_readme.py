"""The README's map: every folder of the toolkit is in it, and it names none that is gone."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_map_says_of_each_folder_what_its_docstring_says():
    said = dict(re.findall(r"^\| `([\w./-]+)/` \| (.*) \|$", README, re.MULTILINE))
    packages = {
        file.parent.relative_to(ROOT).as_posix(): file
        for room in (
            "batch",
            "benchmarks",
            "commands",
            "emonet_ref",
            "export",
            "runtime",
            "serving",
        )
        for file in (ROOT / room).rglob("__init__.py")
    }
    for folder, file in packages.items():
        doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
        line = doc.splitlines()[0].rstrip(".").replace("``", "`")
        assert said.get(folder) == line, folder
    assert all((ROOT / folder).is_dir() for folder in said)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_named_files_are_there(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert all((document.parent / link).exists() for link in links)
    rooms = "benchmarks|commands|docs|emonet_ref|export|runtime|tests"
    named = re.findall(rf"`((?:{rooms})/[\w./-]+)`", text)
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_nobody_is_told_to_install_a_name_that_anybody_could_register(document):
    assert "emonet-deploy[" not in document.read_text(encoding="utf-8")
    assert "pip install emonet" not in document.read_text(encoding="utf-8")
