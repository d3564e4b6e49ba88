import hashlib
import json
import resource
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from emonet_deploy.emonet_ref import standin  # noqa: E402
from emonet_deploy.emonet_ref.checkpoint import identify_checkpoint  # noqa: E402
from emonet_deploy.emonet_ref.model import EmoNet  # noqa: E402
from emonet_deploy.emonet_ref.resolve_checkpoint import find_checkpoint  # noqa: E402
from emonet_deploy.emonet_ref.storage.cache import cache_dir  # noqa: E402
from emonet_deploy.emonet_ref.synthetic.faces import PARITY_SEED, STANDIN_SEED, crops, make_faces  # noqa: E402
from emonet_deploy.errors import CheckpointError, InputError  # noqa: E402

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def model(standin8):
    model = EmoNet(8)
    model.load_state_dict(torch.load(standin8, weights_only=True))
    return model.eval()


def _tensor(n, seed):
    return torch.from_numpy(crops(make_faces(n, seed))).permute(0, 3, 1, 2).float() / 255


def test_the_file_is_a_checkpoint_like_the_original(standin8):
    state = torch.load(standin8, weights_only=True)
    expected = json.loads((DATA / "state_dict_8.json").read_text())
    shapes = dict(expected) if isinstance(expected, list) else expected
    assert {key: list(value.shape) for key, value in state.items()} == shapes
    assert all(bool(torch.isfinite(value).all()) for value in state.values())


def test_predictions_spread_over_faces_it_was_not_measured_on(model):
    with torch.inference_mode():
        parts = [model(part) for part in _tensor(32, PARITY_SEED).split(4)]
    classes = torch.cat([part.expression for part in parts]).argmax(1)
    assert len(classes.unique()) >= 7
    assert classes.bincount().max() <= 16
    for name in ("valence", "arousal"):
        values = torch.cat([getattr(part, name) for part in parts])
        assert 0.3 < values.std() < 0.9
        assert abs(values.mean()) < 0.35


def test_first_norm_keeps_the_statistics_of_its_own_input(model):
    with torch.inference_mode():
        x = model.conv1(_tensor(24, STANDIN_SEED)).double()
    mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3))
    assert ((model.bn1.running_mean - mean).abs() / std).max() < 0.01
    assert (model.bn1.running_var / std**2 - 1).abs().max() < 0.01


def test_weights_come_from_the_seed_and_their_name_alone():
    first, again, other = (standin._random_state(EmoNet(5), seed) for seed in (0, 0, 1))
    key = "conv2.conv1.weight"
    assert torch.equal(first[key], again[key])
    assert not torch.equal(first[key], other[key])
    # He: variance 2 / fan_in, whose fan_in is 64 x 3 x 3.
    assert float(first[key].std()) == pytest.approx(np.sqrt(2 / 576), rel=0.02)
    eight = standin._random_state(EmoNet(8), 0)
    assert torch.equal(first[key], eight[key])


def test_every_weight_is_what_the_recipe_says_and_norms_are_at_rest():
    """Drawn here as the module's text has it, apart from its code."""
    state = standin._random_state(EmoNet(8), 3)
    for key in ("conv1.weight", "m1.b3_4.conv2.weight", "emo_fc_2.0.weight"):
        digest = hashlib.sha256(f"3:{key}".encode()).digest()
        rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))
        shape = tuple(state[key].shape)
        want = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        np.testing.assert_array_equal(state[key].numpy(), want.astype(np.float32))
    for key, value in state.items():
        if value.ndim < 2:
            at_one = "bn" in key and key.endswith((".weight", "running_var"))
            at_one |= key in {"emo_fc_2.1.weight", "emo_fc_2.1.running_var"}
            at_one |= ".downsample.0." in key and key.endswith((".weight", "running_var"))
            assert torch.equal(value, torch.full_like(value, int(at_one))), key


class Small(torch.nn.Module):
    """What a stand-in's calibration needs to know of EmoNet, in a few channels."""

    def __init__(self, nclass=3):
        super().__init__()
        torch.manual_seed(0)
        self.nclass = nclass
        self.conv = torch.nn.Conv2d(3, 6, 3)
        self.norm = torch.nn.BatchNorm2d(6)
        self.emo_fc_2 = torch.nn.Sequential(
            torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(),
            torch.nn.Linear(8, nclass + 2),
        )  # fmt: skip
        self.requires_grad_(False)
        self.emo_fc_2[3].bias.zero_()  # as it is drawn

    def forward(self, x):
        return self.emo_fc_2(self.norm(self.conv(x)).relu().mean((2, 3)))


def test_calibration_brings_every_layer_into_its_range():
    model, images = Small(), torch.rand(24, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    images *= torch.linspace(0.2, 1, 24)[:, None, None, None]
    standin._calibrate(model, images)
    assert not any(module._forward_pre_hooks for module in model.modules())
    conv = model.conv(images).double()
    mean, var = conv.mean((0, 2, 3)), conv.var((0, 2, 3), correction=0)
    # Rounded to 1/128 of the spread, half of a step of 1/64 at most.
    assert ((model.norm.running_mean - mean).abs() <= var.sqrt() / 128 * 1.001).all()
    assert ((model.norm.running_var - var).abs() <= var / 128 * 1.001).all()
    hidden = model.emo_fc_2[0](model.norm(conv.float()).relu().mean((2, 3))).double()
    fc = model.emo_fc_2[1]
    assert ((fc.running_mean - hidden.mean(0)).abs() <= hidden.std(0, correction=0) / 120).all()
    values = model(images).double()
    np.testing.assert_allclose(values.std(0, correction=0), [1, 1, 1, 0.5, 0.5], rtol=1 / 120)
    np.testing.assert_allclose(values.mean(0), 0, atol=1 / 120)


def test_statistics_are_whole_steps_of_a_power_of_two():
    scale = torch.tensor([1.0, 1.5, 1.99, 2.0, 0.3], dtype=torch.float64)
    steps = torch.tensor([1 / 64, 1 / 64, 1 / 64, 1 / 32, 1 / 256], dtype=torch.float64)
    rounded = standin._rounded(torch.full((5,), 0.7654321, dtype=torch.float64), scale)
    assert torch.equal(rounded, torch.round(0.7654321 / steps) * steps)


def test_statistics_are_rounded_so_that_machines_agree():
    exact = torch.tensor([0.1, 1.0, 3.14159, -7.7], dtype=torch.float64)
    scale = torch.tensor([1.0, 1.0, 4.0, 0.5], dtype=torch.float64)
    rounded = standin._rounded(exact, scale)
    assert torch.equal(standin._rounded(exact + 1e-6, scale), rounded)
    assert ((rounded - exact).abs() <= scale / 128).all()


def test_making_it_leaves_torch_as_it_was(monkeypatch, tmp_path):
    # A smaller set of faces: what is under test does not depend on their number.
    monkeypatch.setattr(standin, "FACES", 8)
    monkeypatch.setenv("EMONET_HOME", str(tmp_path / "cache"))
    torch.manual_seed(3)
    before = (torch.get_num_threads(), torch.is_grad_enabled(), torch.get_rng_state())
    path = standin.standin_path(5, seed=2)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert path.parent == tmp_path / "cache"
    # The empty lock stays, for whoever may be waiting for it.
    assert sorted(x.name for x in path.parent.iterdir()) == [f".{path.name}.lock", path.name]
    assert torch.load(path, weights_only=True)["emo_fc_2.3.weight"].shape == (7, 128)

    stamp = path.stat().st_mtime_ns
    assert standin.standin_path(5, seed=2) == path
    assert path.stat().st_mtime_ns == stamp


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Make stand-ins at once, and count them; what is under test does not depend on the weights."""
    made = []

    def make(nclass, seed, traits):
        assert not list(traits)
        made.append((nclass, seed))
        model = torch.nn.Linear(1, 1)
        model.state_dict = lambda: {"a": torch.full((3,), float(seed))}
        return model

    monkeypatch.setattr(standin, "make_standin", make)
    monkeypatch.setenv("EMONET_HOME", str(tmp_path / "cache"))
    return made


def test_a_cache_that_cannot_be_written_is_one_clear_error_before_the_work(
    quick, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMONET_HOME", str(tmp_path / "file" / "below"))
    with pytest.raises(CheckpointError, match=r"cannot write .* EMONET_HOME$"):
        standin.standin_path(8)
    assert quick == []


def test_a_disk_that_fills_up_is_one_clear_error(quick, monkeypatch, tmp_path):
    monkeypatch.setattr(standin, "require_writable", lambda *_: (tmp_path / "cache").mkdir())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write .*: File too large.*EMONET_HOME$"):
            standin.standin_path(8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "cache").glob("*.pth")) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "unstamped", "other"])
def test_a_damaged_or_older_file_in_the_cache_is_made_anew(quick, damage):
    path = standin.standin_path(8, 3)
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[:-100])
    elif damage == "flipped":
        at = whole.index(torch.full((3,), 3.0).numpy().tobytes())
        path.write_bytes(whole[:at] + b"\x01" + whole[at + 1 :])
    elif damage == "unstamped":
        torch.save({"a": torch.full((3,), 3.0)}, path)
    else:
        path.write_bytes(standin.standin_path(8, 4).read_bytes())
    made = len(quick)
    assert standin.standin_path(8, 3) == path
    assert path.read_bytes() == whole
    assert len(quick) == made + 1


@pytest.mark.parametrize(("seed", "identity"), [(0, "standin"), (3, "standin:3")])
def test_a_copy_of_a_standin_is_known_as_one_until_its_weights_change(
    quick, tmp_path, seed, identity
):
    copy = tmp_path / "weights of mine.bin"
    copy.write_bytes(standin.standin_path(8, seed).read_bytes())
    assert identify_checkpoint(copy) == identity
    assert find_checkpoint(str(copy), 8).is_standin
    state = torch.load(copy, weights_only=True)
    assert list(state) == ["a"]
    state["a"] = state["a"] + 1
    torch.save(state, copy)
    assert identify_checkpoint(copy).startswith("sha256:")


def test_a_seed_is_a_number_of_reasonable_size(quick):
    assert find_checkpoint("standin:007", 8).identity == "standin:7"
    for seed in ("x", "-1", "9" * 5000, "\u0663", "1.5"):
        with pytest.raises(InputError, match="seed must be a whole number") as caught:
            find_checkpoint(f"standin:{seed}", 8)
        assert len(str(caught.value)) < 200


def test_defaults_and_limits_of_a_name():
    assert standin.standin_name() == "standin"
    assert standin.standin_name(0, ["sparse", "sparse"]) == "standin:0:sparse"
    assert standin.standin_name(5, ("sparse", "rescaled")) == "standin:5:rescaled:sparse"
    assert standin.parse_standin("standin:") == (0, ())
    assert standin.parse_standin("standin:" + "9" * 18) == (10**18 - 1, ())
    with pytest.raises(InputError, match="at most 18 digits"):
        standin.parse_standin("standin:" + "9" * 19)
    three = ("correlated", "outlying", "sparse")
    assert standin.parse_standin("standin:1:" + ":".join(three[::-1])) == (1, three)
    with pytest.raises(InputError, match="at most 3 traits"):
        standin.parse_standin("standin:1:" + ":".join((*three, "rescaled")))


def test_the_cached_file_says_classes_seed_and_nothing_of_a_default(quick):
    assert standin.standin_path().name.startswith("standin_8_seed0_r")
    assert quick == [(8, 0)]
    assert standin.standin_path(5, 7).name.startswith("standin_5_seed7_r")
    assert standin.standin_path(8, 0) == standin.standin_path()
    assert quick == [(8, 0), (5, 7)]


def test_a_checkpoint_that_cannot_be_looked_at_is_one_line(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for name in ("a" * 300, "a\0b", str(tmp_path / "loop"), str(tmp_path)):
        with pytest.raises(CheckpointError, match="no checkpoint at"):
            find_checkpoint(name, 8)


def test_the_cache_is_the_users_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("EMONET_HOME", raising=False)
    assert cache_dir().name == "emonet-deploy"
    monkeypatch.setenv("EMONET_HOME", str(tmp_path))
    assert cache_dir() == tmp_path


def test_other_class_counts_are_refused():
    with pytest.raises(ValueError, match="nclass"):
        standin.make_standin(7)
