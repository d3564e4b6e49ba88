"""PyTorch in the ways people run it, on the processor."""

import numpy as np
import pytest
import torch

from emonet_deploy.benchmarks.gpu.peers import open_gpu_peer
from emonet_deploy.errors import MissingDependencyError


class Network(torch.nn.Module):
    """Answers with the mean of each image, and remembers how it was called."""

    nclass = 8

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.calls = []

    def forward(self, images):
        cudnn = torch.backends.cudnn
        self.calls.append(
            (images.dtype, cudnn.allow_tf32, torch.is_inference_mode_enabled(), self.training)
        )
        mean = (images * self.weight).mean((1, 2, 3))
        shapes = ((68, 64, 64), (8,), (), ())
        return [mean.reshape(-1, *[1] * len(s)).expand(-1, *s) for s in shapes]

    def __deepcopy__(self, memo):
        made = Network()
        made.calls = self.calls
        return made


@pytest.mark.parametrize(
    ("name", "kind", "tf32", "precision"),
    [
        ("eager fp32", torch.float32, False, "fp32"),
        ("eager tf32", torch.float32, True, "fp32"),
        ("eager fp16", torch.float16, False, "fp16"),
        ("graph fp16", torch.float16, False, "fp16"),
    ],
)
def test_each_way_computes_in_its_type_and_the_model_is_left_as_it_is(name, kind, tf32, precision):
    model = Network()
    peer = open_gpu_peer(name, model, "cpu")
    images = np.full((3, 3, 256, 256), 0.25, np.float32)
    found = peer.run(images, ["valence", "arousal"])
    assert model.calls == [(kind, tf32, True, False)]
    assert model.training
    assert model.weight.dtype == torch.float32
    assert (peer.name, peer.info.precision, peer.info.nclass) == (name, precision, 8)
    for values in found.values():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, [0.25] * 3, rtol=1e-3)


def test_without_torch_tensorrt_its_way_says_so():
    try:
        import torch_tensorrt  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match="Torch-TensorRT is not installed"):
            open_gpu_peer("torch-tensorrt fp16", Network(), "cpu")
