import hashlib

import numpy as np
import pytest
import torch
from helpers import golden

from emonet_deploy.emonet_ref.constants import TENSOR_OUTPUTS
from emonet_deploy.emonet_ref.model import EmoNet

BOTH = pytest.mark.parametrize("nclass", [8, 5])


@pytest.fixture(scope="module", params=[8, 5])
def case(request):
    """The golden values, the network and the images they were computed from."""
    want = golden.load(f"forward_{request.param}.npz")
    images = golden.images(4, int(want["image_seed"]))
    assert hashlib.sha256(images.tobytes()).hexdigest() == str(want["images_sha256"])
    return want, golden.model(request.param), golden.tensor(images)


def assert_agrees(output, want, rows, tolerance):
    got = {name: getattr(output, name).numpy() for name in ("expression", "valence", "arousal")}
    got["heatmap_every8"] = output.heatmap[:, :, ::8, ::8].numpy()
    got["heatmap_mean"] = output.heatmap.mean((2, 3)).numpy()
    for name, values in got.items():
        error = np.abs(values - want[name][rows]).max() / np.abs(want[name]).max()
        assert error < tolerance, f"{name}: {error}"
    argmax = output.heatmap.flatten(2).argmax(2).numpy()
    np.testing.assert_array_equal(argmax, want["heatmap_argmax"][rows])


@pytest.mark.parametrize("rows", [slice(1), slice(1, 4), slice(4)], ids=["1", "3", "4"])
def test_float32_reproduces_the_golden_forward(case, rows):
    want, model, images = case
    with torch.inference_mode():
        output = model(images[rows])
    assert all(values.dtype == torch.float32 for values in output)
    assert_agrees(output, want, rows, 1e-5)


def test_float64_reproduces_the_golden_forward_to_rounding(case):
    want, model, images = case
    rows = slice(2)
    # The golden images are exact in float32 only before the division.
    exact = (images[rows].double() * 255).round() / 255
    model = EmoNet(model.nclass).double().eval()
    model.load_state_dict(golden.weights(model.nclass, int(want["weight_seed"])))
    with torch.inference_mode():
        output = model(exact)
    assert_agrees(output, want, rows, 1e-10)


@BOTH
def test_state_dict_has_the_published_keys_in_order_and_their_shapes(nclass):
    got = [(key, tuple(value.shape)) for key, value in EmoNet(nclass).state_dict().items()]
    assert got == list(golden.shapes(nclass).items())
    assert len(got) == 682


def test_output_is_named_in_the_contracts_order_and_the_input_is_untouched(case):
    _, model, images = case
    image = images[:1].clone()
    with torch.inference_mode():
        output = model(image)
    assert output._fields == TENSOR_OUTPUTS
    assert [tuple(values.shape) for values in output] == [
        (1, 68, 64, 64),
        (1, model.nclass),
        (1,),
        (1,),
    ]
    assert torch.equal(image, images[:1])


def test_training_mode_runs_on_two_faces_and_reaches_every_weight():
    model = golden.model(8).train()
    output = model(golden.tensor(golden.images(2, seed=3)))
    sum(values.square().mean() for values in output).backward()
    idle = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert idle == []
    assert model.bn1.num_batches_tracked == 1


def test_a_number_of_classes_without_a_published_model_is_refused():
    with pytest.raises(ValueError, match=r"\[5, 8\], not 6"):
        EmoNet(6)
