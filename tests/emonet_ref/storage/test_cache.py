import os
import subprocess
import sys
from pathlib import Path

import pytest

from emonet_deploy.emonet_ref.storage.cache import cache_dir


def test_the_home_that_is_named_is_taken_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("EMONET_HOME", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    assert not cache_dir().exists()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EMONET_HOME", "~/own")
    assert cache_dir() == tmp_path / "own"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other places")
def test_without_one_it_is_where_the_system_has_caches(tmp_path):
    script = "from emonet_deploy.emonet_ref.storage.cache import cache_dir; print(cache_dir())"
    bare = {k: v for k, v in os.environ.items() if k not in {"EMONET_HOME", "XDG_CACHE_HOME"}}
    for more, folder in (
        ({"XDG_CACHE_HOME": str(tmp_path / "x")}, tmp_path / "x"),
        ({"HOME": str(tmp_path), "EMONET_HOME": ""}, tmp_path / ".cache"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=bare | more,
            capture_output=True,
            text=True,
            check=True,
        )
        assert Path(done.stdout.strip()) == folder / "emonet-deploy"
