"""Names of nodes and tensors: those of the modules they come from; and no notes for debugging."""

from collections import Counter

import onnx
from onnx import NodeProto

from emonet_deploy.export.graph.surgery import Graph

__all__ = ["name_nodes", "strip"]

_SCOPES = "pkg.torch.onnx.name_scopes"


def name_nodes(model: onnx.ModelProto) -> None:
    """Name nodes and tensors after the modules they come from, such as ``m0.b1_4.conv1``.

    Layers keep the names of their weights in the checkpoint, so that reports on layers can be
    read; the rest are called by module and operator, with a number where there are several.
    """
    graph = Graph(model)
    seen: Counter[str] = Counter()
    renamed: dict[str, str] = {}
    keep = set(graph.output_names)
    for node in graph.nodes:
        name = _module_name(graph, node)
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
        for i, tensor in enumerate(node.input):
            node.input[i] = renamed.get(tensor, tensor)
        for i, tensor in enumerate(node.output):
            if tensor not in keep:
                renamed[tensor] = node.name if i == 0 else f"{node.name}.{i}"
                node.output[i] = renamed[tensor]


def _module_name(graph: Graph, node: NodeProto) -> str:
    if node.op_type in {"Conv", "Gemm"} and graph.is_constant(node.input[1]):
        return str(node.input[1]).removesuffix(".weight")
    # The note is a list of scopes from the outermost in; the last one is the operator's own.
    scopes = str(next((p.value for p in node.metadata_props if p.key == _SCOPES), "['']"))
    module = ["", *scopes.strip("[]").replace("'", "").split(", ")][-2]
    if node.op_type == "BatchNormalization":
        return module
    return f"{module}.{node.op_type.lower()}".lstrip(".")


def strip(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes for debugging: stack traces, paths, scopes, inferred shapes."""
    graph = model.graph
    graph.doc_string = model.doc_string = ""
    del graph.value_info[:]
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
