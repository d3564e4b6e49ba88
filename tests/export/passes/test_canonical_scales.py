import numpy as np
import onnx
import pytest
import torch
from helpers import small_graph
from helpers.onnx_models import golden_images, golden_model, rewritten, run

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.passes.canonical_scales import canonicalize_scales
from emonet_deploy.export.passes.fp16 import convert_fp16
from emonet_deploy.export.passes.merge_pointwise import merge_pointwise

NORM = "m0.b1_3.bn2"


def block(factors):
    """Two branches that are added, pooled, concatenated and read; their channels are scaled."""
    rng = np.random.default_rng(0)
    f, g = factors[:4].reshape(4, 1, 1, 1), factors[4:].reshape(4, 1, 1, 1)
    constants = small_graph.norm_constants("n", 4, rng)
    for part in "sb":
        constants[f"n.{part}"] = constants[f"n.{part}"] * f.ravel()
    w, b, v, u, k = (rng.normal(size=size) for size in
                     ((4, 4, 1, 1), 4, (4, 4, 3, 3), (4, 4, 3, 3), (3, 8, 1, 1)))  # fmt: skip
    constants |= {
        "first": w, "v": v / f.reshape(1, 4, 1, 1) * g, "b": b * g.ravel(), "u": u * g,
        "k": k / np.concatenate((g, g)).reshape(1, 8, 1, 1),
    }  # fmt: skip
    return small_graph.small(
        [small_graph.conv("x first", "a", 1, 0), small_graph.norm("a", "n"), ("Relu", "n", "r", {}),
         small_graph.conv("r v b", "p"), small_graph.conv("a u", "q"), ("Add", "p q", "s", {}),
         ("MaxPool", "s", "m", {"kernel_shape": [2, 2], "strides": [2, 2]}),
         ("Concat", "m m", "c", {"axis": 1}), small_graph.conv("c k", "y", 1, 0)],
        constants,
    )  # fmt: skip


def test_networks_that_differ_in_the_scales_of_channels_become_one():
    x = np.random.default_rng(1).normal(size=(2, 4, 8, 8)).astype(np.float32)
    scaled = np.exp(np.random.default_rng(2).normal(size=8))
    plain, other = block(np.ones(8)), block(scaled)
    want = run(plain, x)["y"]
    found = []
    for model in (plain, other):
        canonicalize_scales(model, torch.from_numpy(x))
        np.testing.assert_allclose(run(model, x)["y"], want, atol=1e-4)
        found.append(Graph(model))
    for name in (tensor.name for tensor in plain.graph.initializer):
        mine, others = (graph.constant(name) for graph in found)
        np.testing.assert_allclose(mine, others, rtol=2e-4, atol=1e-5, err_msg=name)


def canonical(model):
    canonicalize_scales(model, torch.from_numpy(golden_images(2)))


def node(model, name):
    return next(n for n in model.graph.node if n.name == name)


def set_norm(graph, name, **values):
    norm = node(graph.model, name)
    parts = ("weight", "bias", "mean", "variance")
    for i, part in enumerate(parts, start=1):
        if part in values:
            old = graph.constant(norm.input[i])
            new = np.broadcast_to(values[part](old), old.shape).astype(np.float32)
            norm.input[i] = graph.set_constant(f"{name}.{part}.changed", new)


def rescale(graph, norm, conv, factors):
    """Multiply what a norm writes and divide what the convolution behind its ReLU reads."""
    set_norm(graph, norm, weight=lambda w: w * factors, bias=lambda b: b * factors)
    layer = node(graph.model, conv)
    weight = graph.constant(layer.input[1]) / factors.reshape(1, -1, 1, 1)
    layer.input[1] = graph.set_constant(f"{conv}.changed", weight.astype(np.float32))


def pairs(model):
    producers = {n.output[0]: n for n in model.graph.node}
    readers = [name for n in model.graph.node for name in n.input]
    for conv in model.graph.node:
        relu = producers.get(conv.input[0])
        if conv.op_type == "Conv" and relu is not None and relu.op_type == "Relu":
            norm = producers[relu.input[0]]
            alone = readers.count(relu.output[0]) == readers.count(norm.output[0]) == 1
            if norm.op_type == "BatchNormalization" and alone:
                yield norm.name, conv.name


def constants(model):
    graph = Graph(model)
    values = {t.name: graph.constant(t.name) for t in model.graph.initializer}
    return {name: v for name, v in values.items() if v.dtype == np.float32 and v.ndim}


def assert_same_function(before, after, tolerance=1e-4):
    images = golden_images(1)
    want, got = run(before, images), run(after, images)
    for name, values in want.items():
        assert np.abs(got[name] - values).max() < tolerance * np.abs(values).max(), name


def written(model, name):
    """What a node writes for a golden image, 1 x channels x height x width."""
    found = {}

    def keep(node, _, output):
        if node.name == name:
            found[name] = output.numpy().astype(np.float64)
        return output

    with torch.no_grad():
        Interpreter(model).run(torch.from_numpy(golden_images(1)), keep)
    return found[name]


def test_the_function_stays_and_what_a_norm_writes_is_divided_by_its_size():
    before = golden_model()
    after = rewritten(before, merge_pointwise, canonical)
    assert_same_function(before, after)
    graph = Graph(before)
    weight, bias = (graph.constant(name) for name in node(before, NORM).input[1:3])
    ratio = written(before, NORM) / written(after, NORM)
    assert np.median(ratio, (0, 2, 3)) == pytest.approx(np.hypot(weight, bias), rel=1e-4)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_networks_that_differ_in_scales_alone_become_equal(sigma):
    plain = golden_model()
    changed = rewritten(plain)
    graph, rng = Graph(changed), np.random.default_rng(0)
    found = list(pairs(plain))
    assert len(found) > 100
    for norm, conv in found:
        size = len(graph.constant(node(changed, norm).input[1]))
        rescale(graph, norm, conv, np.exp(rng.normal(0, sigma, size)))
    want, got = (constants(rewritten(m, merge_pointwise, canonical)) for m in (plain, changed))
    assert want.keys() == got.keys()
    for name, values in want.items():
        assert np.abs(got[name] - values).max() <= 1e-5 * np.abs(values).max(), name


def test_what_norms_read_stays_as_it_is():
    before = golden_model()
    after = rewritten(before, canonical)
    for name in ("m0.b1_3.conv2", "m1.b2_2.conv3", "top_m_0.conv1"):
        assert written(after, name) == pytest.approx(written(before, name), rel=1e-4, abs=1e-4)


ODD = {
    "m0.b1_3.bn1": {"weight": lambda w: 0 * w, "bias": lambda b: 0 * b},  # dead
    "m0.b1_3.bn2": {"weight": lambda w: w * 1e-30, "bias": lambda b: -1e-30},  # as good as dead
    "m0.b1_3.bn3": {"weight": lambda w: np.r_[1000, w[1:]]},  # one larger than all others
    "m0.b2_3.bn1": {"variance": lambda v: 0 * v + 1e-12, "mean": lambda m: 0 * m},
    "m0.b2_3.bn2": {"variance": lambda v: 0 * v, "mean": lambda m: 0 * m},
    "m0.b2_3.bn3": {"weight": lambda w: -w},
    "m1.b1_3.bn1": {"weight": lambda w: w.astype(np.float16)},  # as a checkpoint in half has it
}


def odd(*left_out):
    model = rewritten(golden_model())
    for norm, change in ODD.items():
        if not change.keys() & set(left_out):
            set_norm(Graph(model), norm, **change)
    return model


def test_odd_channels_keep_the_function():
    model = odd()
    after = rewritten(model, merge_pointwise, canonical)
    assert all(np.isfinite(values).all() for values in constants(after).values())
    assert_same_function(model, after)


def test_odd_channels_fit_into_half():
    model = odd("variance")  # without it the golden outputs are beyond half themselves
    after = rewritten(model, merge_pointwise, canonical, convert_fp16)
    onnx.checker.check_model(after, full_check=True)
    assert_same_function(model, after, tolerance=0.05)


def test_weights_that_layers_share_are_scaled_for_each():
    model = rewritten(golden_model())
    a, b = (node(model, f"m0.b1_{level}.conv2") for level in (3, 4))
    b.input[1] = a.input[1]
    assert_same_function(model, rewritten(model, canonical))


def test_what_a_layer_with_its_norm_folded_writes_has_channels_of_one_size():
    seen = {}

    def keep(node, _, output):
        seen[node.name] = output
        return output

    after = rewritten(golden_model(8), merge_pointwise, canonical)
    Interpreter(after).run(torch.from_numpy(golden_images(2)), keep)
    for name in ("conv_last0", "conv_last1"):
        sizes = seen[name].square().mean((0, 2, 3)).sqrt()
        torch.testing.assert_close(sizes, torch.ones_like(sizes), rtol=1e-4, atol=0)
