"""The table of precisions, against the one of the documentation."""

import re
from pathlib import Path
from typing import get_args

import pytest

from emonet_deploy.runtime.choices import Precision
from emonet_deploy.runtime.precision_specs import PRECISIONS, gates_of

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "precision.md"
# Okabe and Ito, "Color universal design", 2008, without black.
OKABE_ITO = {
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
}  # fmt: skip


def documented():
    """The rows of the documentation's table of gates: precision, target, gates, layers."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        match = re.match(r"\| (fp32|fp16|bf16|int8)(?: `--target (cpu)`)? \| (.+) \| (.+) \|", line)
        if match:
            yield match[1], match[2] or "gpu", match[3], match[4]


def first_number(pattern, text):
    found = re.search(pattern, text)
    return float(found[1]) if found else None


def test_gates_are_those_of_the_documentation():
    rows = list(documented())
    assert {precision for precision, *_ in rows} == set(get_args(Precision))
    for precision, target, gate, layers in rows:
        gates = gates_of(precision, target)
        assert gates.max_error == first_number(r"below ([\d.e-]+)", gate), precision
        assert gates.ccc == first_number(r"CCC .*?at least ([\d.]+)", gate), precision
        assert gates.agreement == first_number(r"(\d+)% equal classes", gate) / 100, precision
        gain, noise = re.match(r"([\d.e-]+), ([\d.e-]+)", layers).groups()
        assert (gates.layer_gain, gates.layer_noise) == (float(gain), float(noise)), precision


def test_int8_must_reach_the_same_for_either_target():
    assert gates_of("int8", "cpu") == gates_of("int8", "gpu")


@pytest.mark.parametrize("name", get_args(Precision))
def test_no_channel_may_stray_and_a_name_tells_the_bits(name):
    spec = PRECISIONS[name]
    assert spec.bits == int(name.lstrip("abfinpt"))
    assert {gates.strays for gates in spec.gates.values()} == {0}
    assert spec.calibrated == (name == "int8")


def test_colours_are_told_apart_by_everybody():
    colours = [spec.color for spec in PRECISIONS.values()]
    assert len(set(colours)) == len(colours)
    assert set(colours) <= OKABE_ITO


def test_a_coarser_precision_may_lose_more():
    by_bits = sorted(PRECISIONS.values(), key=lambda spec: -spec.bits)
    drops = [spec.max_drop for spec in by_bits]
    assert drops == sorted(drops)
    assert 0 < drops[0] <= drops[-1] < 0.05
