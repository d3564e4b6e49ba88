import pytest
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.commands import prepare_artifacts
from emonet_deploy.emonet_ref import checkpoint
from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint


def emonet(*arguments):
    return CliRunner().invoke(app, ["checkpoint", *map(str, arguments)])


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A stand-in that lies in the cache; what was asked for."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "cached.pth"
    path.write_bytes(b"weights")
    asked = []

    def resolve(name, nclass, say):
        asked.append((name, nclass))
        return Checkpoint(path, name)

    monkeypatch.setattr(prepare_artifacts, "resolve_checkpoint", resolve)
    return asked


def test_a_standin_is_made_of_eight_classes_and_seed_0_and_copied_on_request(cached, tmp_path):
    done = emonet("standin")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'cached.pth'}\n"
    done = emonet("standin", "--out", "mine.pth", "--seed", "3", "--nclass", "5")
    assert done.stdout == "mine.pth\n"
    assert (tmp_path / "mine.pth").read_bytes() == b"weights"
    assert cached == [("standin:0", 8), ("standin:3", 5)]


def test_a_copy_does_not_replace_what_is_copied_and_a_seed_is_no_less_than_0(cached, tmp_path):
    assert emonet("standin", "--out", "cached.pth").exit_code == 1
    assert (tmp_path / "cached.pth").read_bytes() == b"weights"
    cached.clear()
    assert emonet("standin", "--seed", "-1").exit_code == 2
    assert cached == []


@pytest.mark.parametrize(
    ("options", "classes"), [([], [5, 8]), (["--nclass", "5"], [5]), (["--nclass", "8"], [8])]
)
def test_both_originals_are_fetched_unless_one_is_named(monkeypatch, options, classes):
    asked = []

    def fetch(nclass, notify, progress):
        asked.append(nclass)
        return f"emonet_{nclass}.pth"

    monkeypatch.setattr(checkpoint, "fetch_checkpoint", fetch)
    done = emonet("fetch", *options)
    assert done.exit_code == 0, done.output
    assert asked == classes
    assert done.stdout.splitlines() == [f"emonet_{n}.pth\toriginal" for n in classes]
