"""The model card says of a file what its record and its proof say."""

from dataclasses import replace

import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.export.model_card import render_card, write_card
from emonet_deploy.runtime.metadata import read_info

PARITY = {
    "n": 96,
    "agreement": 0.9375,
    "ccc": {"valence": 0.9987, "arousal": None},
    "gates": {"ccc_valence": {"limit": 0.99, "value": 0.9987, "passed": True}},
}


@pytest.fixture
def info(tmp_path):
    return read_info(write_tiny(tmp_path / "m.onnx"))


def test_a_card_lies_beside_its_model_and_has_its_hash_and_its_figures(tmp_path, info):
    model = tmp_path / "m.onnx"
    text = write_card(model, info, PARITY).read_text()
    assert (tmp_path / "m.card.md").read_text() == text
    assert sha256_file(model) in text
    assert "93.8% equal" in " ".join(text.split())
    assert "| ccc_valence | 0.9987 | 0.99 | pass |" in text
    assert "arousal none" in text


@pytest.mark.parametrize(
    ("checkpoint", "said", "unsaid"),
    [
        ("original", "CC BY-NC-ND", "untrained"),
        ("standin:3", "weights are untrained", "CC BY-NC-ND"),
        (f"sha256:{'0' * 64}", "fill in before", "untrained"),
    ],
)
def test_weights_decide_the_licence_and_the_warning(info, checkpoint, said, unsaid):
    text = render_card("m.onnx", replace(info, checkpoint=checkpoint), PARITY)
    assert said in text
    assert unsaid not in text


def test_a_card_speaks_of_use_bias_and_consent(info):
    text = render_card("m.onnx", info, PARITY)
    for heading in ("Intended use", "Not for", "Limits", "Bias", "Consent and data", "Licence"):
        assert f"\n## {heading}\n" in text
