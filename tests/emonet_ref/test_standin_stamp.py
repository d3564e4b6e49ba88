import re
import zipfile
from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch")

from emonet_deploy.emonet_ref.standin_stamp import stamped, stamped_identity  # noqa: E402

WEIGHTS = {"b": torch.arange(4.0), "a": torch.ones(2, 2)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


def save(path, identity="standin", **changes):
    state = stamped(WEIGHTS, identity)
    state.update(changes)
    torch.save(state, path)
    return path


@pytest.mark.parametrize(
    "identity",
    ["standin", "standin:3", "standin:3:a", "standin:3:a-b.c:d:e", "standin:" + "9" * 32],
)
def test_a_file_says_what_it_is_and_stays_a_plain_state_dict(path, identity):
    save(path, identity)
    assert stamped_identity(path) == identity
    loaded = torch.load(path, weights_only=True)
    assert type(loaded) is OrderedDict
    assert list(loaded) == ["b", "a"]


@pytest.mark.parametrize(
    "identity",
    ["original", "standin:", "standin:A", "standin:1:a:b:c:d", "standin:" + "9" * 33, "standin\n",
     "standin;rm", "", 7],
)  # fmt: skip
def test_what_no_standin_is_called_is_not_believed(path, identity):
    assert stamped_identity(save(path, identity)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"a": torch.tensor([[1.0, 1.0], [1.0, 1.0 + 2**-20]])},
        {"a": torch.ones(4)},
        {"a": torch.ones(2, 2, dtype=torch.float64)},
        {"c": torch.ones(1)},
    ],
    ids=["value", "shape", "type", "name"],
)
def test_any_change_of_the_weights_takes_the_name_away(path, changes):
    assert stamped_identity(save(path, **changes)) is None


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize(
    "odd", [torch.ones(2, 2).to_sparse(), torch.ones(2, device="meta"), 3], ids=str
)
def test_weights_that_cannot_be_hashed_have_no_name(path, odd):
    state = stamped(WEIGHTS | {"a": odd}, "standin")
    torch.save(state, path)
    mark = vars(state)["emonet_deploy"]
    assert not re.fullmatch("[0-9a-f]{64}", mark["weights"])


def test_the_order_of_the_weights_is_no_part_of_what_they_are():
    forth, back = (
        vars(stamped(dict(sorted(WEIGHTS.items(), reverse=turn)), "standin"))["emonet_deploy"]
        for turn in (False, True)
    )
    assert forth == back
    transposed = stamped({"a": torch.ones(3, 2).t()}, "standin")
    assert vars(transposed) == vars(stamped({"a": torch.ones(2, 3)}, "standin"))


def test_files_without_a_mark_and_files_of_other_kinds_have_no_name(path):
    torch.save(OrderedDict(WEIGHTS), path)
    assert stamped_identity(path) is None
    torch.save(WEIGHTS | {"note": "emonet_deploy"}, path)
    assert stamped_identity(path) is None
    path.write_bytes(b"emonet_deploy")
    assert stamped_identity(path) is None
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"emonet_deploy, and no pickle")
    assert stamped_identity(path) is None


def test_a_mark_is_looked_for_in_descriptions_of_a_reasonable_length_only(path):
    save(path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for size, known in ((2**24 - 1, True), (2**24, False)):
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in content.items():
                archive.writestr(name, part.ljust(size, b"\0") if name.endswith("pkl") else part)
        assert (stamped_identity(path) == "standin") == known


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        stamped_identity(tmp_path / "absent.pth")
