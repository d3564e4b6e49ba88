from dataclasses import replace

import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.commands.tune.artifacts import Floor, find_artifacts, models
from emonet_deploy.runtime.metadata import artifact_name, read_info, write_info

GOOD = {"passed": True, "gates": {"ccc_valence": {"value": 0.995}, "ccc_arousal": {"value": 0.99}}}


def write(folder, precision="fp32", target="gpu", parity=GOOD, **changes):
    path = folder / artifact_name(8, precision, target)
    write_tiny(path, precision, target=target)
    write_info(path, replace(read_info(path), parity=parity, **changes))
    return path


@pytest.fixture
def info(tmp_path):
    return replace(read_info(write(tmp_path)), precision="int8")


@pytest.mark.parametrize(
    ("lowest", "allowed"),
    [
        ("fp32", ["fp32"]),
        ("fp16", ["fp32", "fp16", "bf16"]),
        ("int8", ["fp32", "fp16", "bf16", "int8"]),
    ],
)
def test_the_lowest_precision_lets_those_of_as_many_bits_through(lowest, allowed):
    assert set(Floor(lowest).precisions) == set(allowed)
    assert Floor(lowest).precisions[0] == "fp32"


def test_float32_is_asked_for_unless_something_else_is():
    assert Floor() == Floor("fp32", None)


@pytest.mark.parametrize(("least", "refused"), [(0.99, False), (0.9901, True), (0.0, False)])
def test_a_concordance_must_reach_what_was_asked_for(info, least, refused):
    reason = Floor("int8", least).refuses(replace(info, parity=GOOD))
    assert bool(reason) == refused
    assert not refused or "ccc_arousal is 0.99, below 0.9901" in reason


@pytest.mark.parametrize("value", [None, "1.0", [1.0]])
def test_a_concordance_that_is_no_number_is_none(info, value):
    parity = {"passed": True, "gates": GOOD["gates"] | {"ccc_valence": {"value": value}}}
    assert "ccc_valence" in Floor("int8", 0.5).refuses(replace(info, parity=parity))
    assert Floor("int8").refuses(replace(info, parity=parity)) == ""


@pytest.mark.parametrize("passed", [False, None, 1, "yes"])
def test_only_what_has_passed_its_gates_may_be_chosen(info, passed):
    judged = replace(info, parity=GOOD | {"passed": passed})
    assert Floor("int8").refuses(judged) == "a gate failed when it was made"
    assert "never judged" in Floor("int8").refuses(replace(info, parity=None))


def test_models_that_are_made_by_device_and_effort():
    every = ("fp32", "fp16", "bf16", "int8")
    assert models(every, False, False) == [("fp32", "gpu"), ("fp32", "cpu")]
    assert models(every, True, False) == [("fp32", "gpu")]
    on_gpu = models(every, True, True)
    assert {target for _, target in on_gpu} == {"gpu"}
    assert {"fp32", "fp16", "int8"} <= {precision for precision, _ in on_gpu}
    on_cpu = models(every, False, True)
    assert ("int8", "cpu") in on_cpu
    assert ("int8", "gpu") in on_cpu
    assert "fp16" not in {precision for precision, _ in on_cpu}
    assert models(("int8",), False, False) == []


def test_what_lies_in_the_folder_and_is_exact_enough_is_found(tmp_path):
    good, other = write(tmp_path), write(tmp_path, target="cpu", checkpoint="standin:1")
    low = write(tmp_path, "int8", "cpu")
    (tmp_path / "emonet_8.fp32.sm89.plan").write_bytes(b"no engine")
    (tmp_path / "emonet_5.fp32.onnx").write_bytes(good.read_bytes())
    said = []
    assert find_artifacts(tmp_path, 8, "standin", Floor(), said.append) == [good]
    assert any(line.startswith(f"left out: {other.name}: it is of standin:1") for line in said)
    assert any("plan" in line for line in said)
    assert len(said) == 2
    said.clear()
    found = find_artifacts(tmp_path, 8, "standin", Floor("int8"), said.append)
    assert found == [good, low]
    assert find_artifacts(tmp_path / "empty", 8, "standin", Floor(), said.append) == []
