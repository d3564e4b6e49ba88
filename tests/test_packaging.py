"""The wheel: the folder mapping would hide a mistake from every test that runs in the checkout."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from helpers.rooms import ROOMS, ROOT
from packaging.requirements import Requirement

from emonet_deploy import __version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy, so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(Path(out).glob("*.whl"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    code = {n for n in names if n.startswith("emonet_deploy/")}
    expected = {
        f"emonet_deploy/{p.relative_to(ROOT).as_posix()}"
        for room in (".", *ROOMS)
        for p in ((ROOT / room).glob("*.py") if room == "." else (ROOT / room).rglob("*.py"))
    }
    assert {n for n in code if n.endswith(".py")} == expected
    assert {n for n in code if not n.endswith(".py")} == {
        "emonet_deploy/py.typed",
        "emonet_deploy/benchmarks/accuracy/report.html.jinja",
        "emonet_deploy/batch/report.html.jinja",
        "emonet_deploy/benchmarks/gpu/compiled_kernels.json",
        "emonet_deploy/export/model_card.md.jinja",
    }
    rest = {n.split("/")[0] for n in names} - {"emonet_deploy"}
    assert len(rest) == 1
    assert next(iter(rest)).endswith(".dist-info")
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_the_wheel_runs_from_a_place_of_its_own(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import emonet_deploy, emonet_deploy.cli as c; print(emonet_deploy.__file__); c.main()"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}",
         "--version"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    where, version = done.stdout.splitlines()
    assert where.startswith(str(tmp_path))
    assert version.startswith("emonet-deploy ")


def test_the_requirements_for_cpus_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = (ROOT / "docs/deploy/requirements-cpu.txt").read_text(encoding="utf-8").splitlines()
    instead = {"opencv-python": "opencv-python-headless", "onnxruntime-gpu": "onnxruntime"}
    wanted = {
        (instead.get(need.name, need.name), str(need.specifier))
        for need in map(Requirement, project["dependencies"])
    }
    here = (Requirement(line) for line in listed if line and not line.startswith("#"))
    assert {(need.name, str(need.specifier)) for need in here} == wanted


def test_versions_and_the_article_agree_with_the_citation():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^version: {re.escape(__version__)}$", text, re.MULTILINE)
    assert "10.1038/s42256-020-00280-0" in text


def test_the_workflow_and_the_hooks_call_what_there_is():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    workflow = (ROOT / ".github/workflows/ci.yaml").read_text(encoding="utf-8")
    targets = re.findall(r"run: make ([\w-]+)", workflow)
    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
