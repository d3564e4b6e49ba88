import json
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.metadata import (
    EngineInfo,
    ModelInfo,
    artifact_name,
    parse_info,
    read_info,
    sidecar_path,
    tensors_of,
    write_info,
)

INPUTS, OUTPUTS = tensors_of(8, "tensor")
INFO = ModelInfo(
    nclass=8,
    checkpoint="standin",
    precision="int8",
    inputs=INPUTS,
    outputs=OUTPUTS,
    calibration={"method": "percentile", "faces": 24},
    engine=EngineInfo("tensorrt", "11.4.0", "T4", ("7.5",), "580.1", 1, 1, 8, {"level": 3}),
    tools={"onnx": "1.23.2"},
)


def test_a_record_survives_its_file():
    assert parse_info(INFO.to_json(), "x") == INFO


def test_an_engine_has_its_record_beside_it_with_its_hash(tmp_path):
    engine = tmp_path / "a.plan"
    engine.write_bytes(b"engine")
    write_info(engine, INFO)
    assert read_info(engine) == replace(INFO, sha256=sha256_file(engine))
    assert sidecar_path(engine).name == "a.plan.json"


def test_an_onnx_file_carries_its_record(onnx8):
    info = read_info(onnx8)
    assert (info.nclass, info.precision, info.interface) == (8, "fp32", "tensor")
    assert [t.name for t in info.outputs] == ["heatmap", "expression", "valence", "arousal"]
    assert info.tools["torch"]


def test_an_engine_without_its_record_is_refused(tmp_path):
    (tmp_path / "a.plan").write_bytes(b"engine")
    with pytest.raises(ArtifactError, match=r"a\.plan\.json"):
        read_info(tmp_path / "a.plan")


@given(
    st.one_of(
        st.text(),
        st.binary().map(lambda b: b.decode("latin-1")),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ).map(json.dumps),
        st.sampled_from(list(json.loads(INFO.to_json()))).map(
            lambda key: json.dumps({**json.loads(INFO.to_json()), key: 3.5})
        ),
    )
)
def test_a_damaged_record_is_an_artifact_error_or_a_record(text):
    try:
        parse_info(text, "file")
    except ArtifactError as error:
        assert "\n" not in str(error)  # noqa: PT017 - a record may also be whole by chance


def record(**changes):
    return json.dumps({**json.loads(INFO.to_json()), **changes})


def engine(**changes):
    return {**json.loads(INFO.to_json())["engine"], **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint": 5},
        {"checkpoint": None},
        {"checkpoint": ["standin"]},
        {"checkpoint": {}},
        {"checkpoint": "standin:" + "9" * 5000},
        {"checkpoint": "\x1b[31moriginal"},
        {"checkpoint": "original\n"},
        {"inputs": []},
        {"outputs": []},
        {"outputs": json.loads(INFO.to_json())["outputs"] * 2},
        {"outputs": json.loads(INFO.to_json())["outputs"][::-1]},
        {"inputs": [{"name": "image", "dtype": "float32", "shape": [None, 3, 256, 9999]}]},
        {"calibration": "x"},
        {"rewrites": "x"},
        {"parity": 5},
        {"precision": "fp64"},
        {"target": "tpu"},
        {"interface": "pixels"},
        {"interface": "image"},
        {"checkpoint": "standin:" + ":".join("12345")},
        {"checkpoint": "sha256:" + "0" * 63},
        {"engine": engine(max_batch=(1 << 16) + 1)},
        {"engine": engine(opt_batch=0)},
        {"engine": engine(min_batch=2)},
        {"engine": engine(min_batch=True)},
        {"engine": engine(package=5)},
        {"engine": engine(driver=5)},
        {"engine": engine(compute_capability=["8.1234"])},
        {"nclass": 5},
        {"nclass": True},
        {"nclass": 8.0},
        {"sha256": "../../etc/passwd"},
        {"parent_sha256": 5},
        {"tools": ["torch"]},
        {"tools": {"torch": {}}},
        {"toolkit": None},
        {"engine": engine(max_batch=10**30)},
        {"engine": engine(min_batch=0)},
        {"engine": engine(opt_batch=9)},
        {"engine": engine(compute_capability=["x.y"])},
        {"engine": engine(compute_capability="7.5")},
        {"engine": engine(version=11)},
        {"engine": engine(gpu=[])},
        {"engine": engine(options=[])},
        {"engine": engine(options={"onnx": "/etc/passwd"})},
        {"engine": engine(options={"onnx": 5})},
        {"calibration": {"x": json.loads("[" * 60 + "]" * 60)}},
    ],
    ids=str,
)
def test_a_record_that_does_not_fit_the_contract_is_refused(changes):
    with pytest.raises(ArtifactError, match="is damaged or of another version"):
        parse_info(record(**changes), "file")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 200_000,
        '{"nclass": 8, "nclass": 8}',
        '{"nclass": NaN}',
        "null",
        "5",
    ],
    ids=["lists", "objects", "twice", "nan", "null", "number"],
)
def test_json_that_could_hurt_is_refused(text):
    with pytest.raises(ArtifactError, match="is damaged"):
        parse_info(text, "file")


def test_the_record_of_an_engine_must_be_a_file_of_reasonable_size(tmp_path):
    (tmp_path / "a.plan").write_bytes(b"engine")
    sidecar = sidecar_path(tmp_path / "a.plan")
    os.mkfifo(sidecar)
    with pytest.raises(ArtifactError, match="it is a device or a pipe"):
        read_info(tmp_path / "a.plan")
    sidecar.unlink()
    sidecar.symlink_to("/dev/zero")
    with pytest.raises(ArtifactError, match="it is a device or a pipe"):
        read_info(tmp_path / "a.plan")
    sidecar.unlink()
    sidecar.write_bytes(b" " * (5 << 20))
    with pytest.raises(ArtifactError, match="it is larger than 4 MiB"):
        read_info(tmp_path / "a.plan")
    sidecar.write_bytes(b"\xff\xfe")
    with pytest.raises(ArtifactError, match="it is no text in UTF-8"):
        read_info(tmp_path / "a.plan")


def test_a_name_that_is_too_long_is_no_artifact(tmp_path):
    for name in ("a" * 300 + ".plan", "a" * 300 + ".onnx", "a\0.plan", "a\0.onnx"):
        with pytest.raises(ArtifactError) as caught:
            read_info(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"rewrites": {"convolutions": 3}},
        {"parity": {"passed": True}},
        {"engine": None},
        {"engine": engine(max_batch=1 << 16)},
        {"engine": engine(min_batch=8, opt_batch=8)},
        {"engine": engine(gpu=None, driver=None, compute_capability=[])},
        {"engine": engine(compute_capability=["8.9", "12.0"], options={"onnx": "m.onnx"})},
        {"checkpoint": "standin:7"},
        {"checkpoint": "sha256:" + "0" * 64, "sha256": "f" * 64, "parent_sha256": "0" * 64},
    ],
    ids=str,
)
def test_a_record_that_fits_the_contract_is_read_as_it_is(changes):
    assert json.loads(parse_info(record(**changes), "file").to_json()) == json.loads(
        record(**changes)
    )


def test_what_a_record_is_not_told():
    info = ModelInfo(8, "standin")
    assert (info.precision, info.target, info.interface) == ("fp32", "gpu", "tensor")


@pytest.mark.parametrize("nclass", [5, 8])
def test_the_tensors_of_each_interface_are_those_of_the_documentation(nclass):
    """README and reference: uint8 pixels in, probabilities and landmarks out; or the network."""
    for interface, taken, shapes in (
        ("image", ("uint8", (None, 256, 256, 3)), {
            "probabilities": (None, nclass), "valence": (None,), "arousal": (None,),
            "landmarks": (None, 68, 3),
        }),
        ("tensor", ("float32", (None, 3, 256, 256)), {
            "heatmap": (None, 68, 64, 64), "expression": (None, nclass), "valence": (None,),
            "arousal": (None,),
        }),
    ):  # fmt: skip
        (image,), outputs = tensors_of(nclass, interface)
        assert (image.dtype, image.shape) == taken
        assert {output.name: output.shape for output in outputs} == shapes
        assert {output.dtype for output in outputs} == {"float32"}


def test_names_tell_classes_precision_interface_and_target():
    assert artifact_name(8, "fp32") == "emonet_8.fp32.onnx"
    assert artifact_name(5, "int8", "cpu", "image") == "emonet_5.int8.image.cpu.onnx"
    assert artifact_name(8, "fp16", interface="image") == "emonet_8.fp16.image.onnx"
