import pytest

from emonet_deploy.benchmarks.datasets.expressions import UNKNOWN, expression_number
from emonet_deploy.errors import DatasetError

NAMES = [
    "neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt", "none",
    "uncertain", "no-face",
]  # fmt: skip
"""Of AffectNet's paper (Mollahosseini et al. 2017), in the order of its numbers."""


@pytest.mark.parametrize(("value", "name"), list(enumerate(NAMES)))
def test_affectnets_numbers_and_names_are_known(value, name):
    for text in (str(value), f"{value}.0", f"0{value}"[-2:], name, name.upper(), f" {name} "):
        assert expression_number(text) == value, text


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("neutrality", 0), ("joyful", 1), ("sadness", 2), ("surprised", 3), ("scared", 4),
        ("disgusted", 5), ("angry", 6), ("contemptuous", 7), ("unknown", 9), ("nonface", 10),
    ],
)  # fmt: skip
def test_other_words_stand_for_the_same(word, value):
    assert expression_number(word) == value


@pytest.mark.parametrize("text", ["", "  ", "\t"])
def test_an_empty_text_is_no_expression(text):
    assert expression_number(text) is None


@pytest.mark.parametrize("text", ["11", "-1", "1.5", "007", "²", "٣", "glad", "1.0.0", "x" * 100])
def test_anything_else_is_an_error_that_shows_it(text):
    with pytest.raises(
        DatasetError, match="which is none of 0 to 10 and no name such as"
    ) as caught:
        expression_number(text)
    assert repr(text[:40]) in str(caught.value)


def test_numbers_without_an_emotion_are_named_in_messages():
    assert {number: text[-len(f"({number})") :] for number, text in UNKNOWN.items()} == {
        number: f"({number})" for number in (8, 9, 10)
    }
