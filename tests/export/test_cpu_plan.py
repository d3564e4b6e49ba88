"""What is timed before a graph is rewritten computes the same, and the plan is on record."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from helpers.onnx_models import golden_images, golden_model
from helpers.onnx_models import run as run_model

from emonet_deploy.export.cpu_plan import CpuPlan, generic_plan, shape_trial, whole_trial
from emonet_deploy.export.passes.winograd import PLAN, winograd_shapes


def run(content, image):
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": image})[0]


@pytest.mark.parametrize("tile", [4, 6])
def test_a_trial_of_winograd_computes_what_the_convolution_does(tile):
    image = np.random.default_rng(1).random((1, 8, 12, 12), np.float32)
    shape = (8, 16, 12)
    expected = run(shape_trial(shape, None), image)
    found = run(shape_trial(shape, tile), image)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    operators = [
        node.op_type for node in onnx.load_from_string(shape_trial(shape, tile)).graph.node
    ]
    assert operators.count("Conv") == 2  # what stands around it


def test_every_shape_that_a_plan_names_is_one_of_the_network():
    shapes = winograd_shapes(golden_model())
    assert set(PLAN) <= set(shapes)
    assert len(shapes) == len(set(shapes))


def test_a_graph_that_is_left_as_it_is_is_the_same_and_a_rewritten_one_nearly():
    model, images = golden_model(), golden_images(1)
    before = model.SerializeToString()
    assert whole_trial(model, None) == before
    rewritten = onnx.load_from_string(whole_trial(model, {(128, 64, 32): 4}))
    assert model.SerializeToString() == before
    expected, found = run_model(model, images), run_model(rewritten, images)
    for name, values in expected.items():
        assert np.abs(found[name] - values).max() < 1e-3 * values.std() + 1e-5, name


def test_the_record_tells_the_plan():
    assert generic_plan(golden_model()).record()["source"] == "generic"
    plan = CpuPlan({(64, 32, 16): 4}, "measured", {"ms": {"1": {"plain": 2.0}}})
    assert plan.record() == {
        "source": "measured", "winograd": [[64, 32, 16, 4]], "ms": {"1": {"plain": 2.0}},
    }  # fmt: skip
    assert CpuPlan(None).record()["winograd"] is None
