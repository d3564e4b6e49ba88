import onnx
import pytest

from emonet_deploy.benchmarks.speed.count_operations import count_operations, total_macs
from emonet_deploy.errors import ArtifactError


@pytest.fixture(scope="module")
def costs(onnx8):
    return count_operations(onnx8)


def test_the_network_has_as_many_operations_as_its_description_says(costs):
    assert total_macs(costs) == pytest.approx(16.9e9, rel=5e-3)


def test_one_layer_by_hand(costs):
    layer = next(cost for cost in costs if cost.name == "m0.b1_4.conv1")
    assert layer.operator == "Conv"
    assert layer.macs == 128 * 256 * 9 * 64 * 64
    assert layer.weights == 128 * 256 * 9
    assert layer.inputs == 256 * 64 * 64
    assert layer.outputs == 128 * 64 * 64


def test_all_parameters_are_counted_once(costs):
    matrices = sum(c.weights for c in costs if c.macs)
    # 13.96 M parameters; those of BatchNorm belong to other nodes.
    assert 13.8e6 < matrices < 13.97e6


def test_most_of_them_are_in_3x3_convolutions(costs, onnx8):
    kernels = {
        node.name: next(a.ints for a in node.attribute if a.name == "kernel_shape")
        for node in onnx.load(onnx8).graph.node
        if node.op_type == "Conv"
    }
    share = sum(c.macs for c in costs if list(kernels.get(c.name, [])) == [3, 3])
    assert share / total_macs(costs) == pytest.approx(0.865, abs=0.005)


def test_a_file_that_is_no_model_is_one_line(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ArtifactError, match="cannot count"):
        count_operations(path)
