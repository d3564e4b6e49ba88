"""`emonet triton`: what lies in a repository, and what Triton is told. Loaded by the real server
in `test_tritonserver.py`."""

import json
import re
from dataclasses import replace

import onnx
import pytest
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.errors import ArtifactError, InputError
from emonet_deploy.runtime.metadata import (
    EngineInfo,
    ModelInfo,
    parse_info,
    read_info,
    tensors_of,
    write_info,
)
from emonet_deploy.serving.repository import RepositoryOptions, write_repository


@pytest.fixture
def model(tmp_path):
    return write_tiny(tmp_path / "emonet_8.fp32.image.onnx", interface="image")


def engine(path, nclass=8, interface="image", **about):
    """A file with an engine's record; no engine is needed to write about it."""
    path.write_bytes(b"a plan")
    inputs, outputs = tensors_of(nclass, interface)
    built = EngineInfo("tensorrt", "10.13.0", "NVIDIA H100", ("9.0",), None, 1, 8, 32)
    info = ModelInfo(
        nclass, "standin", "fp16", interface=interface, inputs=inputs, outputs=outputs,
        engine=replace(built, **about),
    )  # fmt: skip
    write_info(path, info)
    return path


def config(folder):
    """A repository's config without its line breaks."""
    return " ".join((folder / "config.pbtxt").read_text().split())


def test_an_onnx_model_lies_in_the_repository_as_it_is(model, tmp_path):
    (folder,) = write_repository(model, tmp_path / "models", RepositoryOptions(device="cpu"))
    assert folder == tmp_path / "models" / "emonet"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"config.pbtxt", "classes.txt", "1/model.onnx"}
    assert (folder / "1" / "model.onnx").read_bytes() == model.read_bytes()
    assert (folder / "classes.txt").read_text().split()[:2] == ["neutral", "happy"]
    text = config(folder)
    for line in (
        'name: "emonet"',
        'backend: "onnxruntime"',
        "max_batch_size: 16",
        'input [ { name: "image" data_type: TYPE_UINT8 dims: [ 256, 256, 3 ] } ]',
        'name: "probabilities" data_type: TYPE_FP32 dims: [ 8 ] label_filename: "classes.txt"',
        'name: "valence" data_type: TYPE_FP32 dims: [ 1 ] reshape: { shape: [ ] }',
        'name: "landmarks" data_type: TYPE_FP32 dims: [ 68, 3 ]',
        "max_queue_delay_microseconds: 2000",
        "max_queue_size: 256",
        "default_timeout_microseconds: 0 ",
        "instance_group [ { kind: KIND_CPU count: 1 } ]",
    ):
        assert line in text
    record = re.search(r'key: "emonet_deploy" value \{ string_value: ("(?:[^"\\]|\\.)*")', text)[1]
    assert parse_info(json.loads(record), "config") == read_info(model)


@pytest.mark.parametrize("nclass", [5, 8])
def test_an_engine_runs_as_many_images_as_it_was_built_for(tmp_path, nclass):
    plan = engine(tmp_path / "emonet.plan", nclass)
    (folder,) = write_repository(plan, tmp_path / "models", RepositoryOptions(instances=2))
    assert (folder / "1" / "model.plan").read_bytes() == b"a plan"
    text = config(folder)
    assert 'platform: "tensorrt_plan" max_batch_size: 32 ' in text
    assert "batch_size: 32" in text
    assert f"dims: [ {nclass} ] label_filename" in text
    assert "kind: KIND_GPU count: 2" in text
    assert len((folder / "classes.txt").read_text().splitlines()) == nclass


def test_what_protobuf_reads_is_what_was_meant(model, tmp_path):
    """Every field's name and type, where Triton's own client is installed."""
    pb = pytest.importorskip("tritonclient.grpc").model_config_pb2
    from google.protobuf import text_format

    options = RepositoryOptions(faces=True, queue_timeout=250, delay=0.5)
    folders = write_repository(model, tmp_path / "models", options)
    read, faces = (
        text_format.Parse((folder / "config.pbtxt").read_text(), pb.ModelConfig())
        for folder in folders
    )
    policy = read.dynamic_batching.default_queue_policy
    assert policy.default_timeout_microseconds == 250_000
    assert read.dynamic_batching.max_queue_delay_microseconds == 500
    assert [list(output.dims) for output in read.output] == [[8], [1], [1], [68, 3]]
    assert faces.parameters["model"].string_value == "emonet"


def test_the_model_of_whole_pictures_lies_beside_it(model, tmp_path):
    options = RepositoryOptions("mood", faces=True, detectors=3, queue_timeout=250)
    folders = write_repository(model, tmp_path / "models", options)
    assert [folder.name for folder in folders] == ["mood", "mood_faces"]
    assert "default_timeout_microseconds: 250000 " in config(folders[0])
    text = config(folders[1])
    assert 'name: "mood_faces" backend: "python" max_batch_size: 0' in text
    assert "kind: KIND_CPU count: 3" in text
    assert 'parameters { key: "model" value { string_value: "mood" } }' in text
    assert "import TritonPythonModel" in (folders[1] / "1" / "model.py").read_text()


@pytest.mark.parametrize(
    ("about", "options", "says"),
    [
        ({"interface": "tensor"}, {}, "--io image"),
        ({"package": "tensorrt_rtx"}, {}, "no backend"),
        ({"min_batch": 4}, {}, "no fewer than 4 images"),
        ({}, {"device": "cpu"}, "runs on GPUs alone"),
        ({}, {"max_batch": 64}, "at most 32 images, not 64"),
        ({}, {"name": "../emonet"}, "letters, digits"),
    ],
)
def test_what_triton_cannot_run_is_refused_and_nothing_written(tmp_path, about, options, says):
    plan = engine(tmp_path / "emonet.plan", **about)
    with pytest.raises((ArtifactError, InputError), match=says):
        write_repository(plan, tmp_path / "models", RepositoryOptions(**options))
    assert not (tmp_path / "models").exists()


def test_a_model_that_is_there_is_replaced_only_by_force_and_its_neighbours_never(model, tmp_path):
    models = tmp_path / "models"
    (models / "other").mkdir(parents=True)
    (folder,) = write_repository(model, models, RepositoryOptions())
    (folder / "2").mkdir()
    with pytest.raises(InputError, match="--force"):
        write_repository(model, models, RepositoryOptions())
    assert (folder / "2").exists()
    write_repository(model, models, RepositoryOptions(max_batch=4), force=True)
    assert "max_batch_size: 4" in config(folder)
    assert sorted(path.name for path in models.iterdir()) == ["emonet", "other"]
    assert not (folder / "2").exists()


def test_a_repository_that_could_not_be_finished_has_no_name(model, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(Exception, match=": No space left on device; free some"):
        write_repository(model, tmp_path / "models", RepositoryOptions())
    assert list((tmp_path / "models").iterdir()) == []


def test_the_command_says_how_to_start_and_to_prove_it(model, tmp_path):
    out = tmp_path / "models"
    done = CliRunner().invoke(app, ["triton", str(model), "--out", str(out), "--device", "cpu"])
    assert done.exit_code == 0
    assert done.stdout.split() == [str(out / "emonet")]
    assert f"-v {out}:/models:ro" in done.stderr
    assert "--gpus" not in done.stderr
    assert "emonet parity http://127.0.0.1:8000/v2/models/emonet" in done.stderr
    onnx.checker.check_model(str(out / "emonet" / "1" / "model.onnx"))


def test_a_checkpoint_is_no_model_for_triton(tmp_path):
    with pytest.raises(ArtifactError, match="--io image"):
        write_repository(tmp_path / "emonet_8.pth", tmp_path / "models", RepositoryOptions())
