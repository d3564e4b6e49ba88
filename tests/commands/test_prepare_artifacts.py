"""Which files several commands take, make or refuse; nothing is exported here."""

from dataclasses import replace

import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.commands import prepare_artifacts as module
from emonet_deploy.commands.prepare_artifacts import (
    choose_reference,
    layer_differences,
    load_calibration,
    obtain,
    obtain_model,
    obtain_one,
    resolve_reference,
    runnable,
)
from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.metadata import artifact_name, read_info, write_info
from emonet_deploy.runtime.tuning.configuration import Wanted


@pytest.fixture
def source(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    path.write_bytes(b"weights")
    found = Checkpoint(path, "standin")
    monkeypatch.setattr(module, "find_checkpoint", lambda name, nclass, notify: replace(
        found, identity=name if name.startswith("standin") else "sha256:" + "1" * 64
    ))  # fmt: skip
    return found


@pytest.fixture
def made(monkeypatch):
    """Write a tiny model in the place of an export, and say what was asked for."""
    asked = []

    def export(nclass, source, out, say, target, precision, interface):
        asked.append((precision, target, interface))
        path = write_tiny(out / artifact_name(nclass, precision, target, interface), precision,
                          interface, target)  # fmt: skip
        write_info(path, replace(read_info(path), checkpoint=source.identity))

    monkeypatch.setattr(module, "export_checked", export)
    monkeypatch.setattr(module, "fitting_engine", lambda model, kind, say, optimize: (
        model.with_suffix(f".{kind}.{optimize}")
    ))  # fmt: skip
    return asked


def test_a_model_is_made_when_it_is_missing_or_of_other_weights(tmp_path, source, made):
    said = []

    def model(origin):
        return obtain_model(8, "fp32", "gpu", "tensor", origin, tmp_path, said.append)

    path = model(source)
    assert path == tmp_path / "emonet_8.fp32.onnx"
    assert model(source) == path
    assert len(made) == len(said) == 1
    assert "making it" in said[0]
    model(replace(source, identity="standin:1"))
    assert len(made) == 2


def test_each_engine_gets_what_it_runs(tmp_path, source, made):
    found = obtain(["torch", "onnx", "trt"], ["fp32", "fp16"], 8, source, tmp_path, print,
                   ["gpu", "cpu"])  # fmt: skip
    names = [(path.name, backend) for path, backend in found]
    assert names == [
        ("w.pth", "torch"),
        ("emonet_8.fp32.onnx", "onnx"), ("emonet_8.fp32.cpu.onnx", "onnx"),
        ("emonet_8.fp16.onnx", "onnx"), ("emonet_8.fp16.cpu.onnx", "onnx"),
        ("emonet_8.fp32.image.trt.throughput", "trt"),
        ("emonet_8.fp16.image.trt.throughput", "trt"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="a served model has no file"):
        obtain(["v2"], ["fp32"], 8, source, tmp_path, print)


def test_without_a_tuned_way_onnx_runtime_runs_float32_for_gpus(tmp_path, source, made):
    path, backend, threads = obtain_one(
        None, Wanted(None, None, "auto", 3), 8, source, tmp_path, print
    )
    assert (path.name, backend, threads) == ("emonet_8.fp32.onnx", "onnx", 3)
    path, backend, threads = obtain_one(
        "openvino", Wanted("int8", "cpu", "auto", None), 8, source, tmp_path, print
    )
    assert (path.name, backend, threads) == ("emonet_8.int8.cpu.onnx", "openvino", None)
    path, _, _ = obtain_one("trt", Wanted(None, None, "auto", None), 8, source, tmp_path, print,
                            "latency")  # fmt: skip
    assert path.name.endswith(".trt.latency")


def test_a_reference_is_what_the_record_says_or_is_refused(source):
    said = []
    assert resolve_reference("standin", 8, None, said.append).identity == "standin"
    assert said == ["note: the stand-in is untrained, its predictions mean nothing"]
    with pytest.raises(InputError, match="came from a file") as caught:
        resolve_reference("sha256:" + "1" * 64, 8, None, print)
    assert "sha256:111111111111..." in str(caught.value)
    assert resolve_reference("sha256:" + "1" * 64, 8, "w.pth", print).path == source.path
    with pytest.raises(InputError, match="came from standin, not from sha256"):
        resolve_reference("standin", 8, "w.pth", print)
    said.clear()
    resolve_reference("sha256:" + "1" * 64, 8, "w.pth", said.append)
    assert said == []


def test_what_artifacts_are_measured_against(tmp_path, source):
    model = str(write_tiny(tmp_path / "m.onnx"))
    assert choose_reference([model], 8, print).identity == "standin"
    assert choose_reference([model, "w.pth"], 8, print).identity.startswith("sha256")


def test_artifacts_go_with_the_engines_that_run_them():
    assert runnable(["m.onnx", "w.pth"], []) == [("m.onnx", "onnx"), ("w.pth", "torch")]
    assert runnable(["m.onnx"], ["onnx", "openvino"]) == [("m.onnx", "onnx"),
                                                         ("m.onnx", "openvino")]  # fmt: skip
    assert runnable(["m.onnx", "w.pth"], ["torch", "onnx"]) == [("m.onnx", "onnx"),
                                                               ("w.pth", "torch")]  # fmt: skip
    with pytest.raises(InputError, match=r"w\.pth is run by torch"):
        runnable(["m.onnx", "w.pth"], ["onnx"])
    with pytest.raises(InputError, match="none of the artifacts runs on torch"):
        runnable(["m.onnx"], ["onnx", "torch"])


def test_layers_are_compared_in_onnx_models_alone(tmp_path, source):
    with pytest.raises(InputError, match="only be compared in an ONNX model"):
        layer_differences(tmp_path / "e.plan", source)


def test_faces_to_calibrate_on_say_where_they_come_from(tmp_path):
    import cv2
    import numpy as np

    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(8):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((64, 64, 3), i, np.uint8))
    found = load_calibration(folder, "original", 0.25, "entropy")
    assert (found.source, found.budget, found.calibrator) == ("faces", 0.25, "entropy")
    assert found.images.shape == (8, 256, 256, 3)
    with pytest.raises(InputError, match="real face crops"):
        load_calibration(None, "original")
