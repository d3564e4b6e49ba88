"""The examples in docstrings say what happens: each is run where a reader would run it."""

import doctest
import importlib

import pytest
from helpers.reader import write_reader_folder
from helpers.rooms import ROOMS, ROOT

FILES = [
    path
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
    if any(
        ">>> " in line and "+SKIP" not in line  # those need a GPU
        for line in path.read_text(encoding="utf-8").splitlines()
    )
]


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    return write_reader_folder(tmp_path_factory.mktemp("reader"))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_print_what_they_say(user, file, monkeypatch):
    monkeypatch.chdir(user)
    name = ".".join(("emonet_deploy", *file.relative_to(ROOT).with_suffix("").parts))
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed


def test_what_most_programs_use_has_an_example():
    named = {"registry.py", "predictor.py", "pipeline.py", "metadata.py"}
    assert named <= {path.name for path in FILES}
