import numpy as np
import pytest
from helpers.small_graph import conv, small

from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.quantization.channel_extremes import channel_extremes


@pytest.fixture
def model():
    weight = np.random.default_rng(0).normal(size=(5, 3, 1, 1))
    return small([conv("image w", "a", 1, 0, strides=[64, 32]), ("Relu", "a", "y", {})],
                 {"w": weight}, x=("N", 3, 256, 256), name="image")  # fmt: skip


def test_extremes_are_of_each_face_and_channel(model):
    import torch

    images = np.random.default_rng(1).integers(0, 256, (3, 256, 256, 3), np.uint8)
    before = model.SerializeToString(deterministic=True)
    found = channel_extremes(model, images, {"a", "y"})
    assert model.SerializeToString(deterministic=True) == before
    seen = {}

    def look(node, _, output):
        seen[node.output[0]] = output.numpy()
        return output

    Interpreter(model).run(torch.from_numpy(images.transpose(0, 3, 1, 2).astype("f") / 255), look)
    assert set(found) == {"a", "y"}
    for name, values in seen.items():
        assert found[name].low.shape == found[name].high.shape == (3, 5)
        np.testing.assert_allclose(found[name].low, values.min((2, 3)), atol=1e-5)
        np.testing.assert_allclose(found[name].high, values.max((2, 3)), atol=1e-5)
    assert (found["y"].low >= 0).all()


def test_nothing_is_run_for_nothing(model):
    assert channel_extremes(model, np.zeros((0, 256, 256, 3), np.uint8), ()) == {}
