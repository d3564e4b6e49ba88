from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from emonet_deploy.emonet_ref.unwrap_state_dict import LAST_WEIGHT, find_weights  # noqa: E402
from emonet_deploy.errors import CheckpointError  # noqa: E402

PATH = Path("weights.pth")
WEIGHTS = {LAST_WEIGHT: torch.zeros(10, 128), "conv1.weight": torch.ones(3)}


def find(content, expected=tuple(WEIGHTS)):
    return find_weights(content, PATH, expected)


def refused(content):
    with pytest.raises(CheckpointError) as caught:
        find(content)
    return str(caught.value)


def nested(content, depth):
    for i in range(depth):
        content = {f"level{i}": content, "epoch": i}
    return content


@pytest.mark.parametrize("depth", range(4))
def test_weights_lie_in_up_to_three_mappings_around_them(depth):
    assert find(nested(WEIGHTS, depth)) == WEIGHTS


def test_deeper_ones_are_not_looked_for():
    assert "lacks the weight" in refused(nested(WEIGHTS, 4))


def test_a_mapping_that_holds_itself_is_looked_at_once():
    content = {"model": dict(WEIGHTS)}
    content["self"] = content["model"]["self"] = content
    found = find(content)
    assert found[LAST_WEIGHT] is WEIGHTS[LAST_WEIGHT]


def test_the_first_thousand_mappings_are_looked_at():
    many = {str(i): {} for i in range(998)}
    assert find(many | {"model": WEIGHTS}) == WEIGHTS
    assert "lacks the weight" in refused(many | {"one more": {}, "model": WEIGHTS})


def test_keys_that_are_no_texts_and_names_that_only_end_alike_are_passed_over():
    assert find({0: {LAST_WEIGHT: 1}, "model": WEIGHTS}) == WEIGHTS
    assert find(WEIGHTS | {3: "x"}) == WEIGHTS
    assert "lacks the weight" in refused({f"other_{LAST_WEIGHT}": torch.zeros(1)})


def test_a_beginning_ends_with_a_dot_and_wrappers_go_wherever_they_stand():
    content = {"a.module.b." + name: value for name, value in WEIGHTS.items()}
    assert find(content) == WEIGHTS
    inside = {"_fsdp_wrapped_module." + name: value for name, value in WEIGHTS.items()}
    inside["conv2._checkpoint_wrapped_module.weight"] = 5
    assert find(inside) == WEIGHTS | {"conv2.weight": 5}


def test_what_lies_with_and_without_a_beginning_is_told_apart():
    content = WEIGHTS | {f"ema.{name}": value for name, value in WEIGHTS.items()}
    content["ema.conv1.weight"] = torch.full((3,), 2.0)
    assert "holds 2 different sets" in refused(content)
    del content["conv1.weight"]  # then only one is whole
    found = find(content)
    assert torch.equal(found["conv1.weight"], torch.full((3,), 2.0))


@pytest.mark.parametrize(
    "other",
    [torch.ones(3, dtype=torch.float64), torch.ones(3, 1), torch.tensor([1.0, 1.0, 2.0]), 1.0],
    ids=["type", "shape", "value", "no tensor"],
)
def test_sets_that_differ_in_anything_are_different(other):
    assert find({"a": WEIGHTS, "b": {k: v.clone() for k, v in WEIGHTS.items()}}) == WEIGHTS
    assert "'a' and 'b'" in refused({"a": WEIGHTS, "b": WEIGHTS | {"conv1.weight": other}})


def test_values_that_are_no_tensors_are_the_same_if_they_are_one():
    odd = object()
    content = WEIGHTS | {"conv1.weight": odd}
    assert find({"a": content, "b": dict(content)}) == content


def test_of_many_sets_the_first_five_are_named():
    sets = {f"s{i}": {k: v + i for k, v in WEIGHTS.items()} for i in range(7)}
    message = refused(sets)
    assert "holds 7 different sets" in message
    assert "'s4'" in message
    assert "'s5'" not in message


def test_the_whole_set_is_the_one_with_most_of_what_is_expected():
    part = {LAST_WEIGHT: torch.ones(10, 128), "other": 1, "more": 2, "yet more": 3}
    assert find({"part": part, "whole": WEIGHTS}) == WEIGHTS


def test_the_file_itself_is_named_as_such():
    content = WEIGHTS | {"inner": {k: v + 1 for k, v in WEIGHTS.items()}}
    assert "under 'the file itself' and 'inner'" in refused(content)


def test_a_name_with_and_without_a_wrapper_is_refused():
    assert "both with and without '_orig_mod.'" in refused(
        WEIGHTS | {f"_orig_mod.{LAST_WEIGHT}": torch.ones(10, 128)}
    )
