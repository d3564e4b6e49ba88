from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from helpers import golden

from emonet_deploy.errors import ExportError
from emonet_deploy.export.onnx import export_onnx, save_model
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.metadata import ModelInfo
from emonet_deploy.runtime.pipeline.preprocess import to_tensor


@pytest.fixture(scope="module")
def model(onnx8):
    return onnx.load(onnx8)


@pytest.mark.parametrize("nclass", [5, 8])
@pytest.mark.parametrize("batch", [1, 3, 4])
def test_golden_outputs_are_reproduced(golden_onnx, nclass, batch):
    expected = golden.load(f"forward_{nclass}.npz")
    images = to_tensor(golden.images(4, int(expected["image_seed"]))[:batch])
    with load_session(golden_onnx(nclass), device="cpu") as session:
        outputs = session.run(images)
    outputs["heatmap_every8"] = outputs["heatmap"][:, :, ::8, ::8]
    for name in ("expression", "valence", "arousal", "heatmap_every8"):
        scale = np.abs(expected[name]).max()
        assert np.abs(outputs[name] - expected[name][:batch]).max() < 1e-5 * scale, name
    peaks = outputs["heatmap"].reshape(batch, 68, -1).argmax(-1)
    np.testing.assert_array_equal(peaks, expected["heatmap_argmax"][:batch])


def test_the_graph_holds_the_network_and_nothing_else(model):
    operators = Counter(node.op_type for node in model.graph.node)
    assert operators["Conv"] == 115
    # Of 111 norms those after a convolution or linear layer alone are folded.
    assert operators["BatchNormalization"] == 107
    assert not {"Shape", "Cast", "Expand", "Constant", "Identity", "CastLike"} & set(operators)


def test_inputs_and_outputs_are_the_contract_with_a_free_batch(model):
    def signature(values):
        return {
            v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
            for v in values
        }

    assert signature(model.graph.input) == {"image": ["N", 3, 256, 256]}
    assert signature(model.graph.output) == {
        "heatmap": ["N", 68, 64, 64],
        "expression": ["N", 8],
        "valence": ["N"],
        "arousal": ["N"],
    }
    assert model.opset_import[0].version >= 18


def test_layers_are_called_as_in_the_checkpoint(model):
    layers = {n.name for n in model.graph.node if n.op_type in {"Conv", "Gemm"}}
    weights = {
        key.removesuffix(".weight")
        for key, shape in golden.shapes(8).items()
        if key.endswith(".weight") and len(shape) > 1
    }
    assert layers == weights


def test_the_file_tells_nothing_of_the_machine_that_made_it(onnx8):
    content = onnx8.read_bytes()
    for trace in (b"site-packages", b"stack_trace", str(onnx8.parent).encode(), b".py"):
        assert trace not in content


def test_the_same_weights_give_the_same_bytes_and_the_model_is_left_as_it_was(onnx8, tmp_path):
    model = golden.model(8).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    again = export_onnx(model, tmp_path / "again.onnx", f"sha256:{'0' * 64}")
    assert again.path.read_bytes() == onnx8.read_bytes()
    assert model.training
    for key, value in model.state_dict().items():
        assert value.equal(before[key]), key


def test_an_invalid_model_is_not_written(model, tmp_path):
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    broken.graph.node[3].input[0] = "nowhere"
    with pytest.raises(ExportError, match="not valid ONNX"):
        save_model(broken, tmp_path / "broken.onnx", ModelInfo(8, "standin"))
    assert list(tmp_path.iterdir()) == []


def test_other_readers_of_onnx_see_a_plain_model(onnx8):
    inputs = ort.InferenceSession(onnx8, providers=["CPUExecutionProvider"]).get_inputs()
    assert [(i.name, i.shape, i.type) for i in inputs] == [
        ("image", ["N", 3, 256, 256], "tensor(float)")
    ]
