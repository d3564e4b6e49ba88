import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_deploy.emonet_ref.storage.files import sha256_file
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


def test_names_tell_classes_precision_interface_and_target():
    assert artifact_name(8, "fp32") == "emonet_8.fp32.onnx"
    assert artifact_name(5, "int8", "cpu", "image") == "emonet_5.int8.image.cpu.onnx"
