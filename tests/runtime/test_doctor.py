"""What `emonet doctor` says of a machine: conflicts, broken packages, caches, telemetry."""

import os
import re
import subprocess
import sys

import pytest

from emonet_deploy.runtime import doctor
from emonet_deploy.runtime.doctor import (
    examine,
    examine_clusters,
    examine_machine,
    examine_servers,
)


def rows():
    return {row.backend: row for row in examine_machine()}


def emonet(*arguments, path=None, **environment):
    found = [str(path)] if path else []
    code = "from emonet_deploy.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*found, *sys.path])} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_this_machine_is_as_it_should_be():
    found = rows()
    for part in ("processor", "opencv", "packages", "telemetry"):
        assert found[part].ready, found[part]
    (version,) = found["opencv"].has
    assert version.startswith("opencv-python")
    assert found["packages"].has == ("no conflict",)
    _, cores = found["processor"].has
    usable, there = map(int, re.findall(r"\d+", cores))
    assert 1 <= usable <= there == os.cpu_count()


def test_only_onnx_runtime_tells_what_it_was_built_with(monkeypatch):
    monkeypatch.setattr(doctor, "BACKENDS", {"onnx": doctor.BACKENDS["onnx"]})
    (onnx,) = examine()
    assert (onnx.backend, onnx.purpose, onnx.ready) == ("onnx", "run", True)
    assert any("CPUExecutionProvider" in line for line in onnx.has)
    assert not any("built with" in line for row in examine_servers() for line in row.has)


@pytest.mark.parametrize("value", [None, "0", ""])
def test_reports_of_use_are_told_unless_they_are_off(monkeypatch, value):
    if value is None:
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    else:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", value)
    assert "ORT_DISABLE_TELEMETRY=1" in rows()["telemetry"].missing[0]


def test_detectors_that_are_missing_are_needed_only_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("EMONET_HOME", str(tmp_path))
    found = rows()["detectors"]
    assert (found.has, found.ready) == (("centerface",), True)
    assert "yunet" in found.optional[0]
    monkeypatch.setattr("emonet_deploy.runtime.detection.centerface.is_installed", lambda: False)
    found = rows()["detectors"]
    assert (found.has, found.ready, len(found.missing)) == ((), False, 2)
    assert "pip install" in found.missing[0]
    monkeypatch.setattr("emonet_deploy.runtime.detection.yunet.is_cached", lambda: True)
    found = rows()["detectors"]
    assert (found.has, found.ready, len(found.optional)) == (("yunet",), True, 1)


def test_servers_are_examined_too(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {row.backend: row for row in examine_servers()}
    assert found["mosec"].has[0].startswith("mosec 0.")
    assert not found["triton"].ready
    assert "emonet triton" in found["triton"].missing[0]
    (tmp_path / "tritonserver").write_text(
        "#!/bin/sh\necho 'libfoo.so: cannot open' >&2; exit 127\n"
    )
    (tmp_path / "tritonserver").chmod(0o755)
    (_, triton) = examine_servers()
    assert "cannot be loaded (libfoo.so: cannot open)" in triton.missing[0]


def test_what_runs_over_many_machines_is_examined_too(monkeypatch):
    (row,) = examine_clusters()
    assert (row.backend, row.purpose, row.ready) == ("ray", "batch", True)
    assert row.has[0].startswith("ray 2.")
    monkeypatch.setitem(sys.modules, "ray.data", None)
    (row,) = examine_clusters()
    assert not row.ready
    assert "pip install 'ray[data]>=2.60'" in row.missing[0]


@pytest.mark.parametrize(
    "twins", ["onnxruntime-gpu onnxruntime", "opencv-python opencv-python-headless"]
)
def test_two_packages_that_overwrite_each_other_are_named(tmp_path, monkeypatch, twins):
    for name in twins.split():
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    (line,) = rows()["packages"].missing
    assert f"pip uninstall -y {twins}" in line


def test_a_broken_opencv_is_a_line_everywhere(tmp_path):
    (tmp_path / "cv2").mkdir()
    message = "libGL.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "cv2" / "__init__.py").write_text(f"raise ImportError({message!r})")
    done = emonet("doctor", path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("opencv\t")]
    assert message in line
    assert "pip install 'opencv-python-headless" in line
    done = emonet("predict", "x.jpg", "--model", "m.onnx", path=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: a package that is needed cannot be loaded ({message})",
        "hint: `emonet doctor` says which, and what to install",
    ]


def test_a_cache_that_cannot_be_written_is_told_with_its_variable(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EMONET_HOME", str(tmp_path / "file" / "home"))
    (line,) = rows()["cache"].missing
    assert "EMONET_HOME" in line


def test_running_a_model_leaves_nothing_in_the_home_of_the_user(tmp_path, onnx8):
    """ONNX Runtime would write an identifier of the device there, and report its use."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "XDG_CACHE_HOME": "", "EMONET_HOME": str(tmp_path / "own")}
    from PIL import Image

    Image.new("RGB", (256, 256)).save(tmp_path / "x.png")
    done = emonet(
        "predict", tmp_path / "x.png", "--model", onnx8, "--detector", "none", **environment
    )
    assert done.returncode == 0, done.stderr
    assert [str(path) for path in home.rglob("*")] == []
