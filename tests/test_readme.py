"""README and docs: what they name is there, and every command is one that the toolkit takes.

What costs little is run as it stands, in a folder with what a user has at hand; the rest is parsed
by the command line itself, so that no document names an option or a choice that there is not.
"""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib

import cv2
import pytest
import typer
from helpers.reader import write_reader_folder
from helpers.rooms import ROOMS, ROOT

from emonet_deploy.cli import app

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
ALL = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix()
)
# Not run as they stand, each for its reason; their options are checked all the same.
SLOW = ("emonet export", "emonet bench", "emonet dataset make", "emonet checkpoint standin")
ELSEWHERE = {
    "emonet checkpoint fetch": "needs the network",
    "emonet build": "needs minutes, or a GPU",
    "emonet prove": "needs a GPU; tests/commands/prove",
    "--device cuda": "needs a GPU",
    "emonet serve": "runs until it is stopped; tests/serving",
    "--camera": "needs a camera; tests/runtime/media",
    "http://": "needs a server; tests/serving",
    "--ray auto": "needs a cluster; tests/batch/test_runs_on_a_cluster.py",
    "AffectNet/": "needs AffectNet",
    "AFEW-VA": "needs AFEW-VA",
    "FACES/": "needs faces to calibrate on, and minutes",
    "standin": "minutes in float32; `make demo` runs them",
    "--backend": "needs the authors' weights",
    "--precision int8": "needs an int8 model",
    "emonet_8.pth": "needs the authors' weights",
    ".plan": "needs an engine",
    "emonet parity": "compares with weights that a small model has not; tests/benchmarks/parity",
    "--against reference": "the same",
    "holiday/": "patterns of files that are the reader's",
    "...": "shortened",
}


def blocks(document, language):
    text = document.read_text(encoding="utf-8")
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for kind, code in found if kind == language]


def commands(document):
    """Return the command lines of a document: what stands after `$`, or lines without any."""
    lines = "\n".join(blocks(document, "")).replace("\\\n", " ").splitlines()
    prompted = [line[2:] for line in lines if line.startswith("$ ")]
    programs = ("emonet ", "python ", "pip ", "make ", "find ")
    plain = [line for line in lines if line.startswith(programs)]
    inline = re.findall(r"`(emonet [a-z][^`]*)`", document.read_text(encoding="utf-8"))
    named = [line for line in inline if re.match(r"emonet [a-z]+ .*--", line)]
    return list(dict.fromkeys(line.partition(" #")[0].strip() for line in prompted + plain)), named


def words(line):
    """Return the arguments of the `emonet` in a line, whatever feeds it."""
    return shlex.split(line[line.index("emonet ") :])[1:]


def parse(arguments):
    """Let the command line read arguments as it would to run them."""
    group, path = typer.main.get_command(app), ["emonet"]
    context = group.make_context("emonet", list(arguments))
    rest = [*context._protected_args, *context.args]
    while getattr(group, "commands", None):
        name, group, rest = group.resolve_command(context, rest)
        path.append(name)
        context = group.make_context(name, rest, parent=context)
        rest = [*getattr(context, "_protected_args", []), *context.args]
    return path


def test_the_readme_is_read_in_five_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_map_says_of_each_folder_what_its_docstring_says():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| `([\w./-]+)/` \| (.*) \|$", text, re.MULTILINE))
    packages = {
        file.parent.relative_to(ROOT).as_posix(): file
        for room in ROOMS
        for file in (ROOT / room).rglob("__init__.py")
    }
    for folder, file in packages.items():
        doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
        line = doc.splitlines()[0].rstrip(".").replace("``", "`")
        assert said.get(folder) == line, folder
    assert all((ROOT / folder).is_dir() for folder in said)


@ALL
def test_links_and_named_files_are_there(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    generated = {"architecture.svg"}  # made from the code when the site is built
    assert [x for x in links if x not in generated and not (document.parent / x).exists()] == []
    rooms = "benchmarks|commands|docs|emonet_ref|examples|export|runtime|serving|tests"
    named = re.findall(rf"`((?:{rooms})/[\w./-]+)`", text)
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


@ALL
def test_nobody_is_told_to_install_a_name_that_anybody_could_register(document):
    assert "emonet-deploy[" not in document.read_text(encoding="utf-8")
    assert "pip install emonet" not in document.read_text(encoding="utf-8")


@ALL
def test_every_command_is_one_the_toolkit_takes(document):
    shown, named = commands(document)
    for line in [*shown, *named]:
        if "emonet " in line and not re.search(r"\.\.\.|[A-Z]{3,}=", line) and "git " not in line:
            arguments = words(line.partition(" > ")[0])
            try:
                parse(arguments)
            except typer.TyperException as error:
                said = error.format_message()
                # In running text a command is named without all that it needs.
                partly = line in named and re.search("requires an argument|Missing", said)
                assert partly, f"{line}: {said}"


@ALL
def test_every_target_extra_and_script_exists(document):
    text = document.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^ *make ([\w-]+)|`make ([\w-]+)", text, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r"'\.\[([\w,-]+)\]'", text):
        assert set(extras.split(",")) <= set(project["optional-dependencies"]), extras
    for line in commands(document)[0]:
        if script := re.match(r"python ([\w/.]+\.py)", line):
            assert (ROOT / script[1]).exists(), line


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A folder with what a reader has at hand when following the documents."""
    return write_reader_folder(tmp_path_factory.mktemp("reader"))


def cheap():
    """Yield the commands that are run as they stand, once each, in the order of the documents."""
    seen = set()
    for document in DOCUMENTS:
        for line in commands(document)[0]:
            if line.startswith(SLOW) or any(word in line for word in ELSEWHERE):
                continue
            if line.startswith(("emonet ", "find ")) and line not in seen:
                seen.add(line)
                yield line


@pytest.mark.slow
@pytest.mark.parametrize("line", list(cheap()))
def test_a_command_runs_as_it_stands(user, line):
    if "predict" in line and "--model" not in line:
        line += " --model artifacts/emonet_8.fp32.onnx"
    if any(option in line for option in ("--csv", "--json", "--save", "--timeline")):
        line += " --force" if "predict" in line else ""
    shutil.rmtree(user / "models", ignore_errors=True)  # several pages write a repository there
    program = f"{sys.executable} -m emonet_deploy.cli"
    done = subprocess.run(
        re.sub(r"\bemonet (?=[a-z])", f"{program} ", line), shell=True, cwd=user, text=True,
        capture_output=True, check=False, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if blocks(document, "python")],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_python_in_documents_runs(user, document, monkeypatch):
    monkeypatch.chdir(user)
    for code in blocks(document, "python"):
        # A sketch of a backend that there is not, and what a batch wrote; see tests/batch. Spark is
        # no package of this project.
        if any(word in code for word in ("class FastSession", "faces/rows", "ray.data", "spark.")):
            compile(code, str(document), "exec")
            continue
        image = cv2.cvtColor(cv2.imread("photo.jpg"), cv2.COLOR_BGR2RGB)
        exec(compile(code, str(document), "exec"), {"image": image, "faces": [image]})
