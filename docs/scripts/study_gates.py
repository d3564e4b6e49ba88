"""How often do the gates refuse a right conversion, and do they refuse every wrong one?

    python docs/scripts/study_gates.py OUT.json [--precision fp16] [--faces 96] NAME/NCLASS ...

Each checkpoint, such as ``standin:0:rescaled/8``, is converted and run once on a pool of drawn
faces. The chance that a right conversion is refused is then counted over resampled sets of as many
faces as the gates are defined on, a close decision taken on four times as many. Wrong conversions
are made of the right one: a wrong scale in one layer, a swapped pair of channels, a norm without
its epsilon, a value beyond half, each in a layer drawn by the checkpoint's name.

Results are added to OUT.json checkpoint by checkpoint, so that a run may be interrupted.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto

from emonet_deploy.benchmarks.metrics.paper_metrics import ccc
from emonet_deploy.benchmarks.parity.channels import compare_channels, judge_channels
from emonet_deploy.benchmarks.parity.compare import PARITY_FACES, run_crops
from emonet_deploy.benchmarks.parity.ties import count_equal
from emonet_deploy.benchmarks.parity.verdicts import judge
from emonet_deploy.emonet_ref.checkpoint import load_checkpoint
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.emonet_ref.resolve_checkpoint import find_checkpoint
from emonet_deploy.emonet_ref.synthetic.faces import PARITY_SEED, crops, make_faces
from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.onnx import export_onnx
from emonet_deploy.export.quantization.calibrate import Calibration, calibration_crops
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.pipeline.artifact_interfaces import read_head
from emonet_deploy.runtime.pipeline.postprocess import softmax
from emonet_deploy.runtime.precision_specs import Gates, gates_of

RESAMPLES = 2000
CHANNEL_FACES = 4
BATCH = 8

Change = Callable[[Graph, NodeProto, np.random.Generator], None]


def scale_layer(graph: Graph, conv: NodeProto, rng: np.random.Generator) -> None:
    """A wrong scale in one layer: its weights are twice what they should be."""
    _set_weight(graph, conv, lambda weight: weight * weight.dtype.type(2))


def swap_channels(graph: Graph, conv: NodeProto, rng: np.random.Generator) -> None:
    """Two output channels of one layer are swapped."""

    def swap(weight: np.ndarray) -> np.ndarray:
        a, b = rng.choice(len(weight), 2, replace=False)
        order = np.arange(len(weight))
        order[[a, b]] = b, a
        return weight[order]

    _set_weight(graph, conv, swap, scales=False)


def forget_epsilon(graph: Graph, conv: NodeProto, rng: np.random.Generator) -> None:
    """A norm whose variances are a tenth of its epsilon, and whose epsilon is forgotten."""
    norms = [node for node in graph.nodes if node.op_type == "BatchNormalization"]
    norm = norms[rng.integers(len(norms))]
    scale = graph.constant(norm.input[1])
    norm.input[1] = graph.set_constant(f"{norm.name}.wrong", scale * scale.dtype.type(np.sqrt(11)))


def overflow(graph: Graph, conv: NodeProto, rng: np.random.Generator) -> None:
    """One layer's sums lie beyond what half holds."""

    def enlarge(weight: np.ndarray) -> np.ndarray:
        return weight * weight.dtype.type(30000 / max(np.abs(weight).max(), 1e-3))

    _set_weight(graph, conv, enlarge)


WRONG: dict[str, Change] = {
    "scale": scale_layer,
    "swap": swap_channels,
    "epsilon": forget_epsilon,
    "overflow": overflow,
}


def _set_weight(
    graph: Graph,
    conv: NodeProto,
    change: Callable[[np.ndarray], np.ndarray],
    scales: bool = True,
) -> None:
    """Change a convolution's weights; of integers, the scale that goes with them."""
    node, at = conv, 1
    producer = graph.producers().get(conv.input[1])
    if producer is not None:
        node, at = producer, 1 if scales else 0  # DequantizeLinear(codes, scale, zero)
    name = node.input[at]
    node.input[at] = graph.set_constant(f"{name}.wrong", change(graph.constant(name)))


def spoil(model: ModelProto, change: Change, rng: np.random.Generator) -> str:
    """Make a conversion wrong in place; returns the layer that was drawn."""
    graph = Graph(model)
    convs = [n for n in graph.nodes if n.op_type == "Conv" and ".b" in n.name]
    conv = convs[rng.integers(len(convs))]
    change(graph, conv, rng)
    return conv.name


def outputs(path: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities n x nclass, valence and arousal n x 2, of a checkpoint or model."""
    with load_session(path, device="cpu") as session:
        found = [
            read_head(run_crops(session, images[start : start + BATCH]))
            for start in range(0, len(images), BATCH)
        ]
    scores = np.concatenate([softmax(head.scores) for head in found])
    return scores, np.concatenate([head.emotion for head in found]).clip(-1, 1)


def refuses(truth: tuple, made: tuple, gates: Gates) -> bool:
    """Tell whether a gate on the outputs fails."""
    agreement = count_equal(truth[0], made[0], gates)
    share = agreement.share_apart
    cccs = tuple(ccc(truth[1][:, i], made[1][:, i]) for i in (0, 1))
    verdicts = judge(gates, {}, 1.0 if share is None else share, cccs)
    return not all(verdict.passed for verdict in verdicts.values())


def chance_of_refusal(truth: tuple, made: tuple, gates: Gates) -> float:
    """Return how often resampled faces refuse; what fails on few is judged on more again."""
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(RESAMPLES):
        at = rng.integers(len(truth[0]), size=4 * PARITY_FACES)
        for some in (at[:PARITY_FACES], at):
            pair = [tuple(values[some] for values in each) for each in (truth, made)]
            if not refuses(*pair, gates):
                break
        else:
            refused += 1
    return refused / RESAMPLES


def study(name: str, nclass: int, precision: str, target: str, n: int, folder: Path) -> dict:
    """Convert one checkpoint and return what the gates make of it and of what it is spoilt to."""
    source = find_checkpoint(name, nclass)
    reference: EmoNet = load_checkpoint(source.path)
    images = crops(make_faces(n, PARITY_SEED))
    faces = Calibration(calibration_crops(None, "standin", 64), "procedural")
    path = folder / "right.onnx"
    export_onnx(
        reference, path, source.identity, precision=precision, target=target,
        calibration=faces if precision == "int8" else None,
    )  # fmt: skip
    gates = gates_of(precision, target)
    truth, made = outputs(source.path, images), outputs(path, images)
    agreement = count_equal(truth[0], made[0], gates)
    layers = compare_channels(reference, path, images[:CHANNEL_FACES])
    of_layers = judge_channels(layers, gates)
    seed = int.from_bytes(hashlib.sha256(f"{name}{nclass}".encode()).digest()[:8], "little")
    rng = np.random.default_rng(seed)
    wrong = {}
    for kind, change in WRONG.items():
        if kind == "overflow" and precision != "fp16":
            continue
        model = onnx.load(path)
        layer = spoil(model, change, rng)
        onnx.save(model, folder / "wrong.onnx")
        found = compare_channels(reference, folder / "wrong.onnx", images[:CHANNEL_FACES])
        verdicts = judge_channels(found, gates)
        wrong[kind] = {
            "layer": layer,
            "noise": verdicts["layer_noise"].value,
            "gain": verdicts["layer_gain"].value,
            "strays": verdicts["strays"].value,
            "refused": not all(v.passed for v in verdicts.values()),
        }
    return {
        "checkpoint": name, "nclass": nclass, "precision": precision, "target": target, "faces": n,
        "equal": agreement.share, "apart": agreement.share_apart, "ties": int(agreement.tied.sum()),
        "margin": agreement.margin,
        "ccc": [ccc(truth[1][:, i], made[1][:, i]) for i in (0, 1)],
        "layer_noise": of_layers["layer_noise"].value, "strays": of_layers["strays"].value,
        "layer_gain": of_layers["layer_gain"].value,
        "refused": refuses(truth, made, gates) or not all(v.passed for v in of_layers.values()),
        "chance": chance_of_refusal(truth, made, gates), "wrong": wrong,
    }  # fmt: skip


def main() -> None:
    """Study the checkpoints named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("checkpoints", nargs="+", help="NAME/NCLASS")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--target", default="gpu")
    parser.add_argument("--faces", type=int, default=PARITY_FACES)
    options = parser.parse_args()
    rows = json.loads(options.out.read_text()) if options.out.exists() else []
    for each in options.checkpoints:
        name, _, nclass = each.rpartition("/")
        with tempfile.TemporaryDirectory() as folder:
            row = study(
                name, int(nclass), options.precision, options.target, options.faces, Path(folder)
            )
        rows.append(row)
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
