import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers import golden  # noqa: E402
from helpers.onnx_models import golden_images  # noqa: E402
from scipy import stats  # noqa: E402

from emonet_deploy.emonet_ref.model import EmoNet  # noqa: E402
from emonet_deploy.emonet_ref.standin import _random_state, parse_standin, standin_name  # noqa: E402
from emonet_deploy.emonet_ref.standin_traits import (  # noqa: E402
    TRAITS,
    draw_weight,
    named_rng,
    rescale_channels,
    rescaling,
    set_norms,
)
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


def test_traits_are_what_their_text_says_in_numbers():
    def rng():
        return named_rng(4, "w")

    plain = draw_weight((4, 50), 0.3, rng(), frozenset())
    np.testing.assert_array_equal(plain, rng().normal(0, 0.3, (4, 50)))
    heavy = draw_weight((16, 50), 0.3, rng(), frozenset({"heavy-tailed"}))
    # Student's t with 3 degrees of freedom has the variance 3.
    np.testing.assert_allclose(heavy, rng().standard_t(3, (16, 50)) / 3**0.5 * 0.3)
    own = rng()
    draws = own.normal(0, 1, (16, 50)), own.normal(0, 1, (2, 50))
    shared = draw_weight((16, 50), 1, rng(), frozenset({"correlated"}))
    want = (draws[0] + draws[1][[0] * 8 + [1] * 8]) / 2**0.5
    np.testing.assert_allclose(shared, want)
    # Filters that do not come in eights stay as they are.
    odd = draw_weight((68, 50), 1, rng(), frozenset({"correlated"}))
    np.testing.assert_array_equal(odd, rng().normal(0, 1, (68, 50)))


def test_norms_of_each_trait():
    size = 4000
    state = {"n.running_var": torch.ones(size), "n.weight": torch.zeros(size)}

    def norms(*traits):
        made = dict(state)
        set_norms(made, 2, frozenset(traits))
        return made["n.weight"].numpy(), made["n.bias"].numpy()

    weight, bias = norms()
    assert (weight == 1).all()
    assert (bias == 0).all()
    weight, bias = norms("sparse")
    assert (weight == 1).all()
    assert -1.3 <= bias.min() < -1.29
    assert -0.71 < bias.max() <= -0.7
    weight, bias = norms("outlying", "sparse")
    dead, large = weight < 0.5, weight > 1
    assert np.unique(weight[dead]) == pytest.approx(1e-6)
    assert np.unique(bias[dead]) == pytest.approx(-0.1)
    assert np.unique(weight[large]) == pytest.approx(30)
    assert -39 <= bias[large].min() <= bias[large].max() <= -21
    assert dead.mean() == pytest.approx(1 / 20, rel=0.15)
    assert large.mean() == pytest.approx(1 / 50, rel=0.2)
    assert (weight[~dead & ~large] == 1).all()


def test_the_largest_rescaling_counts():
    assert rescaling(frozenset()) == rescaling(frozenset({"sparse"})) == 0
    assert rescaling(frozenset({"rescaled", "sparse"})) == 1
    assert rescaling(frozenset({"rescaled", "rescaled-2"})) == 2


def test_rescaling_reaches_every_norm_that_a_layer_alone_reads():
    model = EmoNet(5)
    model.load_state_dict(_random_state(model, 0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rescale_channels(model, 9, 1.0)
    for name in model.state_dict():
        if name.endswith("running_var"):
            norm = name.removesuffix(".running_var")
            factors = model.state_dict()[f"{norm}.weight"]
            # Of what the first norms and the second stack's write, other layers read, too.
            alone = norm not in {"bn1", "bn_end1"}
            assert (factors != 1).all() == alone, norm
            if alone:
                drawn = named_rng(9, f"{norm}:rescaled").normal(0, 1, len(factors))
                np.testing.assert_allclose(factors.numpy(), np.exp(drawn), rtol=1e-6)
    factors = model.emo_fc_2[1].weight
    want = before["emo_fc_2.3.weight"] / factors
    assert torch.allclose(model.emo_fc_2[3].weight, want)


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
