import pytest
from helpers.option_limits import check_limits
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.serving import repository


@pytest.fixture
def triton(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "m.onnx", interface="image")
    write = repository.write_repository

    def triton(*options):
        given = []

        def keep(artifact, out, options, *, force):
            given.append((options, force))
            return write(artifact, out, options, force=force)

        monkeypatch.setattr(repository, "write_repository", keep)
        done = CliRunner().invoke(app, ["triton", "m.onnx", *options])
        return done, given

    return triton


def test_what_is_not_said_is_as_the_repository_has_it(triton, tmp_path):
    done, ((options, force),) = triton()
    assert done.exit_code == 0, done.output
    assert options == repository.RepositoryOptions()
    assert not force
    assert (tmp_path / "models" / "emonet" / "config.pbtxt").exists()
    assert "--gpus all " in done.stderr
    assert f"-v {tmp_path}/models:/models:ro nvcr.io/nvidia/tritonserver:" in done.stderr
    assert "prove it: emonet parity http://127.0.0.1:8000/v2/models/emonet\n" in done.stderr
    assert "docker build" not in done.stderr


def test_a_model_that_is_there_stays_unless_it_may_be_replaced(triton):
    assert triton()[0].exit_code == 0
    assert triton()[0].exit_code == 1
    assert triton("--force")[0].exit_code == 0


def test_on_a_processor_no_gpu_is_asked_for_and_faces_need_an_image_of_ours(triton):
    done, ((options, _),) = triton("--device", "cpu", "--faces", "--name", "e", "--detectors", "3")
    assert done.exit_code == 0, done.output
    assert (options.device, options.faces, options.detectors) == ("cpu", True, 3)
    assert "--gpus" not in done.stderr
    assert "docker build -t emonet-triton" in done.stderr
    assert "/v2/models/e\n" in done.stderr


@pytest.mark.parametrize(
    ("option", "taken", "refused"),
    [
        ("--instances", ["1"], ["0"]),
        ("--max-batch", ["1"], ["0"]),
        ("--delay", ["0"], ["-0.1"]),
        ("--queue", ["1"], ["0"]),
        ("--queue-timeout", ["0"], ["-1"]),
        ("--detectors", ["1"], ["0"]),
    ],
)
def test_numbers_are_taken_up_to_their_limits(triton, option, taken, refused):
    check_limits(triton, option, taken, refused, "--force")
