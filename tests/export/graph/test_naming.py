import numpy as np
import pytest
from helpers.small_graph import conv, norm, norm_constants, small

from emonet_deploy.export.graph.naming import name_nodes, strip

SCOPES = "pkg.torch.onnx.name_scopes"


@pytest.fixture
def model():
    """As PyTorch's exporter names things: nodes by number, scopes from the outermost in."""
    rng = np.random.default_rng(0)
    constants = {
        "m0.conv1.weight": rng.normal(size=(4, 4, 3, 3)), **norm_constants("n", 4, rng),
        "fc.weight": rng.normal(size=(3, 4)), "fc.bias": rng.normal(size=3),
    }  # fmt: skip
    made = small(
        [norm("x", "n"), ("Relu", "n", "t1", {}), conv("t1 m0.conv1.weight", "t2"),
         ("Relu", "t2", "t3", {}), ("Add", "t3 x", "t4", {}), ("Add", "t4 t3", "t5", {}),
         ("GlobalAveragePool", "t5", "t6", {}), ("Flatten", "t6", "t7", {}),
         ("Gemm", "t7 fc.weight fc.bias", "y", {"transB": 1})],
        constants,
    )  # fmt: skip
    scopes = {
        "n": "['', 'm0', 'm0.bn1', 'batch_norm']", "t1": "['', 'm0', 'relu']",
        "t3": "['', 'm0', 'relu_1']", "t4": "['', 'add']", "t5": "['', 'add_1']",
    }  # fmt: skip
    for node in made.graph.node:
        node.name = f"node_{node.output[0]}"
        if node.output[0] in scopes:
            node.metadata_props.add(key="other", value="['', 'wrong', 'x']")
            node.metadata_props.add(key=SCOPES, value=scopes[node.output[0]])
        node.doc_string = "File /home/someone/model.py"
    return made


def test_nodes_are_called_after_their_modules_and_counted_where_there_are_several(model):
    name_nodes(model)
    assert [node.name for node in model.graph.node] == [
        "m0.bn1", "m0.relu", "m0.conv1", "m0.relu_2", "add", "add_2", "globalaveragepool",
        "flatten", "fc",
    ]  # fmt: skip


def test_tensors_have_the_names_of_their_nodes_and_outputs_keep_theirs(model):
    name_nodes(model)
    nodes = {node.name: node for node in model.graph.node}
    for name, node in nodes.items():
        assert node.output[0] == ("y" if name == "fc" else name)
    assert list(nodes["add"].input) == ["m0.relu_2", "x"]
    assert list(nodes["add_2"].input) == ["add", "m0.relu_2"]
    assert nodes["m0.conv1"].input[1] == "m0.conv1.weight"


def test_further_outputs_are_numbered():
    made = small([("Relu", "x", "y", {})], {})
    node = made.graph.node.add(op_type="Split", input=["y"], output=["p", "q"], name="s")
    node.attribute.add(name="num_outputs", i=2, type=2)
    name_nodes(made)
    assert list(made.graph.node[1].output) == ["split", "split.1"]


def test_notes_for_debugging_go(model):
    model.graph.doc_string = model.doc_string = "a note"
    model.graph.value_info.add(name="t1")
    for item in (model, model.graph, model.graph.input[0], model.graph.initializer[0]):
        item.metadata_props.add(key="path", value="/home/someone")
    strip(model)
    assert b"/home/someone" not in model.SerializeToString()
    assert b"a note" not in model.SerializeToString()
    assert not model.graph.value_info
    assert len(model.graph.node) == 9
