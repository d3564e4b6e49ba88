import json

import pytest

from emonet_deploy.export.tensorrt.inspector import (
    Layer,
    LayerTensor,
    convolutions,
    layers_from_dump,
    layers_from_json,
    report,
    summary,
)

DUMP = """Layers:
Name: __myl_Corr_0, LayerType: correlation, Inputs: [ { Name: a, Dimensions: [-1,3,8,8], Datatype: Int8 }, { Name: b, Dimensions: [2], Datatype: Float }], Constants: [ { Name: s, Dimensions: [16], Datatype: Float }, { Name: w, Dimensions: [16,3,3,3], Datatype: Int8 }], Outputs: [ { Name: c, Dimensions: [-1,16,8,8], Datatype: Half }], TacticName: sm89_x, StreamId: 0, Metadata: [ONNX Layer: conv1][ONNX Layer: relu]
Name: move, LayerType: kgen, Inputs: [ { Name: c, Dimensions: [-1,16,8,8], Datatype: Half }], Outputs: [ { Name: d, Dimensions: [-1,16,8,8], Datatype: Float }]
Name: scale, LayerType: kgen, Inputs: [], Constants: [ { Name: s, Dimensions: [1,16,1,1], Datatype: Float }], Outputs: [], StreamId: 3, Metadata: [ONNX Layer: mul]

Bindings:
"""  # noqa: E501


def test_the_builders_dump_is_read():
    conv, move, scale = layers_from_dump(DUMP)
    assert (conv.name, conv.kind, conv.tactic) == ("__myl_Corr_0", "correlation", "sm89_x")
    assert (conv.precision, conv.output, conv.weights) == ("int8", "half", (16, 3, 3, 3))
    assert conv.nodes == ("conv1", "relu")
    assert conv.inputs == (LayerTensor((-1, 3, 8, 8), "int8"), LayerTensor((2,), "float"))
    assert [len(part) for part in (conv.constants, conv.outputs)] == [2, 1]
    assert conv.is_convolution
    # Without weights its first input decides.
    assert (move.precision, move.output, move.weights, move.nodes) == ("half", "float", (), ())
    assert not move.is_convolution
    # A number for each channel is a scale and no weights.
    assert (scale.precision, scale.output, scale.weights) == ("unknown", "unknown", ())
    assert scale.nodes == ("mul",)
    assert layers_from_dump("nothing of the kind") == []


@pytest.mark.parametrize("word", ["Datatype", "DataType", "Format/Datatype"])
def test_the_inspectors_json_is_read_however_it_spells_its_keys(word):
    def tensor(kind, *shape):
        return {"Name": "t", "Dimensions": list(shape), word: kind}

    layers = [
        {"Name": "conv", "LayerType": "CaskConvolution", "TacticName": "t1",
         "Inputs": [tensor("Channel major FP16 format", -1, 4)],
         "Outputs": [tensor("Row major linear FP32", -1, 8)],
         "Weights": {"Type": "Int8", "Count": 288}, "Metadata": "[ONNX Layer: c1]"},
        {"Name": "bare"},
        "only a name",
    ]  # fmt: skip
    conv, bare, named = layers_from_json(json.dumps({"Layers": layers}))
    assert (conv.precision, conv.weights, conv.output) == ("int8", (288,), "float")
    assert conv.inputs == (LayerTensor((-1, 4), "half"),)
    assert (conv.nodes, conv.tactic, conv.is_convolution) == (("c1",), "t1", True)
    assert (bare.precision, bare.output, bare.weights) == ("unknown", "unknown", ())
    assert named == Layer("only a name")


@pytest.mark.parametrize(
    ("kind", "name", "convolves"),
    [
        ("correlation", "x", True), ("CaskConvolution", "x", True), ("kgen", "x", False),
        ("kgen", "__myl_AddCorrRelu", True), ("kgen", "__myl_Conv", True), ("", "Conv", False),
        ("kgen", "a__myl_Conv", False), ("kgen", "__myl_Add", False),
    ],
)  # fmt: skip
def test_a_convolution_is_told_by_its_kind_or_by_what_was_fused(kind, name, convolves):
    assert Layer(name, kind).is_convolution == convolves


def test_a_node_has_the_precision_of_the_layer_that_convolves():
    copy = Layer("copy", "reformat", precision="float", weights=(3, 3), nodes=("a",))
    conv = Layer("conv", "correlation", precision="int8", weights=(3, 3), nodes=("a", "b"))
    other = Layer("move", "kgen", precision="half", nodes=("c",))
    for layers in ([copy, conv, other], [conv, copy, other]):
        found = convolutions(layers, ["a", "b", "c"])
        assert found == {"a": "int8", "b": "int8", "c": "unknown"}
    assert convolutions([copy], ["a"]) == {"a": "float"}
    assert convolutions([], ["a"]) == {"a": "unknown"}


def test_the_report_counts_precisions_the_most_frequent_first():
    assert summary(["float", "int8", "int8"]) == "3 convolutions: 2 int8, 1 float"
    assert summary([]) == "no convolutions"
    layer = Layer("conv", "correlation", "int8", nodes=("a",))
    found = report([layer], {"a": "int8", "b": "float", "c": "int8"})
    assert found["counts"] == {"int8": 2, "float": 1}
    assert found["convolutions"] == {"a": "int8", "b": "float", "c": "int8"}
    assert found["layers"][0]["name"] == "conv"
    assert json.loads(json.dumps(found))["summary"] == found["summary"]


@pytest.mark.parametrize(
    ("written", "short"),
    [("Int8", "int8"), ("UInt8", "uint8"), ("BFloat16", "bf16"), ("BF16", "bf16"),
     ("Half", "half"), ("FP16", "half"), ("FP8", "fp8"), ("FP32", "float"), ("Float", "float"),
     ("Int64", "int64"), ("", "unknown")],
)  # fmt: skip
def test_types_have_short_names(written, short):
    (layer,) = layers_from_json(
        json.dumps(
            {"layers": [{"name": "x", "inputs": [{"dimensions": [1], "datatype": written}]}]}
        )
    )
    assert layer.inputs[0].type == short
    assert layer.precision == short
