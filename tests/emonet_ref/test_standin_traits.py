import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers import golden  # noqa: E402
from helpers.onnx_models import golden_images  # noqa: E402
from scipy import stats  # noqa: E402

from emonet_deploy.emonet_ref.model import EmoNet  # noqa: E402
from emonet_deploy.emonet_ref.standin import _random_state, parse_standin, standin_name  # noqa: E402
from emonet_deploy.emonet_ref.standin_traits import TRAITS, draw_weight, rescale_channels  # noqa: E402
from emonet_deploy.errors import InputError  # noqa: E402

KEY = "conv2.conv1.weight"


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_rescaled_channels_compute_the_same_function(sigma):
    model, images = golden.model(8), torch.from_numpy(golden_images(1))
    before = model.state_dict()["m0.b1_4.bn2.weight"].clone()
    with torch.inference_mode():
        want = model(images)
        rescale_channels(model, 0, sigma)
        got = model(images)
    factors = (model.m0.b1_4.bn2.weight.detach() / before).log()
    assert float(factors.std()) == pytest.approx(sigma, rel=0.3)
    for g, p in zip(want, got, strict=True):
        assert float((g - p).abs().max()) < 1e-4 * float(g.abs().max())


def test_a_seed_names_the_weights_whatever_the_traits():
    plain, again, other = (
        _random_state(EmoNet(5), seed, frozenset({"heavy-tailed"})) for seed in (0, 0, 1)
    )
    assert torch.equal(plain[KEY], again[KEY])
    assert not torch.equal(plain[KEY], other[KEY])


def test_every_trait_keeps_the_spread_and_does_what_it_says():
    rng = np.random.default_rng
    heavy = draw_weight((64, 4096), 0.5, rng(0), frozenset({"heavy-tailed"}))
    assert heavy.std() == pytest.approx(0.5, rel=0.05)
    assert stats.kurtosis(heavy.ravel()) > 5  # of a normal distribution 0
    filters = draw_weight((64, 4096), 0.5, rng(0), frozenset({"correlated"}))
    assert filters.std() == pytest.approx(0.5, rel=0.05)
    assert np.corrcoef(filters[:8])[0, 1:] == pytest.approx(0.5, abs=0.06)
    assert np.corrcoef(filters[:9])[0, 8] == pytest.approx(0, abs=0.06)

    norms = _random_state(EmoNet(5), 0, frozenset({"sparse", "outlying"}))
    weight = torch.cat([v for k, v in norms.items() if k.endswith(("bn1.weight", "bn2.weight"))])
    assert float((weight < 1e-3).float().mean()) == pytest.approx(0.05, abs=0.01)
    assert float((weight > 10).float().mean()) == pytest.approx(0.02, abs=0.01)
    bias = torch.cat([v for k, v in norms.items() if k.endswith("bn1.bias")])
    plain = bias[(bias > -2) & (bias < -0.5)]
    silent = stats.norm.cdf(plain.double().numpy()).mean()  # of a standard normal input
    assert silent == pytest.approx(1 / 6, abs=0.02)


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("standin", (0, ())),
        ("standin:7", (7, ())),
        ("standin:0:rescaled", (0, ("rescaled",))),
        ("standin:3:sparse:outlying", (3, ("outlying", "sparse"))),
    ],
)
def test_a_name_says_seed_and_traits(name, parsed):
    assert parse_standin(name) == parsed
    assert parse_standin(standin_name(*parsed)) == parsed


@pytest.mark.parametrize("name", ["standin:x", "standin:0:huge", "standin:0:" + ":".join(TRAITS)])
def test_a_name_of_nothing_is_refused_in_a_line(name):
    with pytest.raises(InputError, match="stand-in"):
        parse_standin(name)
