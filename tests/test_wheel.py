"""Wheel and sdist in empty environments, without PyTorch. `make test-wheel` runs this."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.emonet_ref.synthetic.faces import make_faces

pytestmark = pytest.mark.wheel
ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
QUIET = ("-m", "pip", "install", "-qq", "--disable-pip-version-check")


def run(*command, cwd=None, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False,
        env=clean | environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build both from what git tracks; the wheel is made from the sdist."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in run("git", "ls-files", cwd=ROOT).stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    done = run(sys.executable, "-m", "build", "--outdir", out, source)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def crop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crop")
    write_tiny(folder / "m.onnx")
    cv2.imwrite(str(folder / "face.png"), make_faces(1, 3)[0].image[..., ::-1])
    return folder


def environment(python, folder):
    done = run(python, "-m", "venv", folder)
    assert done.returncode == 0, done.stderr
    return folder / "bin/python"


def works(python, crop):
    """Predict a crop, and be told what is missing for the rest."""
    emonet = python.parent / "emonet"
    done = run(emonet, "predict", "face.png", "--detector", "none", "--model", "m.onnx", cwd=crop)
    assert done.returncode == 0, done.stderr
    assert "face.png" in done.stdout
    assert run(python, "-c", "import torch").returncode != 0
    done = run(emonet, "export", "--checkpoint", "standin", cwd=crop)
    assert done.returncode == 1
    assert "torch" in done.stderr
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_in_an_empty_environment(built, crop, tmp_path, version):
    found = shutil.which(f"python{version}")
    if found is None or run(found, "--version").returncode:  # or a shim without it
        pytest.skip(f"no Python {version} here")
    python = environment(found, tmp_path / "venv")
    done = run(python, *QUIET, built[0])
    assert done.returncode == 0, done.stderr
    works(python, crop)


def test_the_sdist_and_the_way_for_cpus(built, crop, tmp_path):
    python = environment(sys.executable, tmp_path / "venv")
    done = run(python, *QUIET, "-r", ROOT / "docs/deploy/requirements-cpu.txt")
    assert done.returncode == 0, done.stderr
    done = run(python, *QUIET, "--no-deps", built[1])
    assert done.returncode == 0, done.stderr
    works(python, crop)
    names = run(python, "-m", "pip", "list").stdout
    assert "onnxruntime-gpu" not in names
    assert "opencv-python-headless" in names


@pytest.mark.parametrize("version", PYTHONS)
def test_the_registry_has_what_each_python_needs(built, tmp_path, version):
    """No build from source: every package, also of the extras, has a wheel for that Python."""
    uv = shutil.which("uv") or pytest.skip("no uv here")
    extras = [f"--extra={name}" for name in ("export", "faces", "video", "eval", "openvino")]
    done = run(
        uv, "pip", "compile", "--quiet", "--python-version", version, "--only-binary", ":all:",
        *extras, ROOT / "pyproject.toml", "-o", tmp_path / "resolved.txt",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
