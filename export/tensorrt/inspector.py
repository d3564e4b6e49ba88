"""What an engine is made of: for each layer its precision, what was fused into it, its weights.

Two sources, one result: TensorRT's engine inspector, which needs the engine loaded on a GPU, and
the dump that the builder prints, which TensorRT-RTX gives on any machine.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Final

__all__ = [
    "Layer",
    "LayerTensor",
    "convolutions",
    "layers_from_dump",
    "layers_from_json",
    "report",
    "summary",
]

_LAYER: Final = re.compile(
    r"^Name: (?P<name>.*?), LayerType: (?P<kind>.*?), Inputs: \[(?P<inputs>.*?)\]"
    r"(?:, Constants: \[(?P<constants>.*?)\])?, Outputs: \[(?P<outputs>.*?)\]"
    r"(?:, TacticName: (?P<tactic>.*?))?(?:, StreamId: \d+)?(?:, Metadata: (?P<metadata>.*))?$"
)
_TENSOR: Final = re.compile(
    r"\{ Name: .*?, Dimensions: \[(?P<shape>.*?)\].*?Datatype: (?P<type>\w+)"
)
_CONVOLUTION_KIND: Final = re.compile("corr|conv", re.IGNORECASE)
_FUSED_CONVOLUTION: Final = re.compile(r"__myl_\w*(Corr|Conv)")
_NODE: Final = re.compile(r"\[ONNX Layer: (.*?)\]")
# Words of TensorRT's type and format names, the first that fits; its own short names otherwise.
_TYPES: Final = {
    "uint8": "uint8",
    "int8": "int8",
    "half": "half",
    "bf16": "bf16",
    "bfloat16": "bf16",
    "fp16": "half",
    "fp8": "fp8",
    "float": "float",
    "fp32": "float",
}


@dataclass(frozen=True)
class LayerTensor:
    """What a layer reads or writes; -1 in its shape stands for the batch."""

    shape: tuple[int, ...]
    type: str


@dataclass(frozen=True)
class Layer:
    """One layer of an engine.

    Attributes:
        name: as the builder calls it.
        kind: the builder's layer type, such as ``correlation`` (a convolution) or ``kgen``.
        precision: ``int8``, ``half``, ``float`` ...: of its weights, or else of its first input.
        output: type of its first output.
        weights: their shape, or their number where the shape is not told; empty when it has none.
        nodes: the ONNX nodes that were fused into it.
        tactic: the kernel that was chosen, as the builder calls it; empty where it does not tell.
        inputs: what it reads.
        constants: weights, scales and shifts.
        outputs: what it writes.
    """

    name: str
    kind: str = ""
    precision: str = "unknown"
    output: str = "unknown"
    weights: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    tactic: str = ""
    inputs: tuple[LayerTensor, ...] = ()
    constants: tuple[LayerTensor, ...] = ()
    outputs: tuple[LayerTensor, ...] = ()

    @property
    def is_convolution(self) -> bool:
        """Whether it convolves, alone or fused with what follows."""
        return bool(_CONVOLUTION_KIND.search(self.kind) or _FUSED_CONVOLUTION.match(self.name))


def layers_from_dump(text: str) -> list[Layer]:
    """Read the dump that starts with ``Layers:`` in the builder's log."""
    matches = (_LAYER.match(line) for line in text.splitlines())
    return [
        _layer(
            match["name"],
            match["kind"],
            _tensors(match["inputs"]),
            _tensors(match["constants"] or ""),
            _tensors(match["outputs"]),
            match["metadata"] or "",
            tactic=match["tactic"] or "",
        )
        for match in matches
        if match
    ]


def layers_from_json(text: str) -> list[Layer]:
    """Read what the engine inspector gives in its JSON format.

    Keys are told apart by their letters alone: TensorRT 11 calls ``Datatype`` what 10 calls
    ``Format/Datatype``, and its documents write ``DataType``.
    """
    return [
        # An engine built without detailed profiling verbosity knows its layers' names only.
        Layer(raw)
        if isinstance(raw, str)
        else _layer(
            raw.get("name", ""),
            raw.get("layertype", ""),
            _json_tensors(raw.get("inputs")),
            _json_tensors(raw.get("constants")),
            _json_tensors(raw.get("outputs")),
            raw.get("metadata", ""),
            _json_weights(raw.get("weights")),
            str(raw.get("tacticname") or ""),
        )
        for raw in json.loads(text, object_pairs_hook=_lower_keys)["layers"]
    ]


def _lower_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key.lower(): value for key, value in pairs}


def convolutions(layers: Iterable[Layer], nodes: Sequence[str]) -> dict[str, str]:
    """Return the precision in which each convolution of the ONNX model runs.

    Args:
        layers: of the engine.
        nodes: names of the model's ``Conv`` nodes.

    Returns:
        Precision under each node's name; ``unknown`` where no fitting layer names it.
    """
    found: dict[str, Layer] = {}
    for layer in layers:
        if not (layer.weights or layer.is_convolution):
            continue
        for node in layer.nodes:
            # Copies and quantisations of the weights name the node as well.
            if node not in found or layer.is_convolution:
                found[node] = layer
    return {node: found[node].precision if node in found else "unknown" for node in nodes}


def summary(precisions: Iterable[str]) -> str:
    """Return a line such as ``115 convolutions: 113 int8, 2 float``."""
    counts = Counter(precisions)
    parts = ", ".join(f"{count} {precision}" for precision, count in counts.most_common())
    return f"{counts.total()} convolutions: {parts}" if counts else "no convolutions"


def report(layers: Sequence[Layer], precisions: Mapping[str, str]) -> dict[str, Any]:
    """Return the layer report as JSON-ready values: the counts, each convolution, each layer."""
    return {
        "summary": summary(precisions.values()),
        "counts": dict(Counter(precisions.values())),
        "convolutions": dict(precisions),
        "layers": [asdict(layer) for layer in layers],
    }


def _layer(
    name: str,
    kind: str,
    inputs: Sequence[LayerTensor],
    constants: Sequence[LayerTensor],
    outputs: Sequence[LayerTensor],
    metadata: str,
    weights: LayerTensor | None = None,
    tactic: str = "",
) -> Layer:
    weights = weights or _weights(constants)
    decisive = [weights] if weights is not None else inputs
    return Layer(
        name=name,
        kind=kind,
        precision=decisive[0].type if decisive else "unknown",
        output=outputs[0].type if outputs else "unknown",
        weights=weights.shape if weights is not None else (),
        nodes=tuple(_NODE.findall(metadata)),
        tactic=tactic,
        inputs=tuple(inputs),
        constants=tuple(constants),
        outputs=tuple(outputs),
    )


def _weights(constants: Sequence[LayerTensor]) -> LayerTensor | None:
    """Return the largest constant, unless it is a scale or shift: one number per channel."""
    largest = max(constants, key=lambda tensor: prod(tensor.shape), default=None)
    if largest is None or prod(largest.shape) == max(largest.shape, default=1):
        return None
    return largest


def _tensors(text: str) -> list[LayerTensor]:
    return [
        LayerTensor(
            tuple(int(size) for size in match["shape"].split(",") if size), _type(match["type"])
        )
        for match in _TENSOR.finditer(text)
    ]


def _json_tensors(raw: list[dict[str, Any]] | None) -> list[LayerTensor]:
    return [
        LayerTensor(
            tuple(tensor.get("dimensions", ())),
            _type(tensor.get("datatype") or tensor.get("format/datatype", "")),
        )
        for tensor in raw or ()
    ]


def _json_weights(raw: dict[str, Any] | None) -> LayerTensor | None:
    return LayerTensor((int(raw.get("count", 0)),), _type(raw.get("type", ""))) if raw else None


def _type(name: str) -> str:
    lowered = name.lower()
    return next((short for word, short in _TYPES.items() if word in lowered), lowered or "unknown")
