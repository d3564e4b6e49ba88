import pytest

from emonet_deploy.emonet_ref.storage.bounded_json import MAX_DEPTH, parse_json


@pytest.mark.parametrize("pair", ["[]", '{"a":#}'])
def test_what_is_nested_up_to_the_depth_is_read(pair):
    opening, closing = (pair[0], pair[1]) if "#" not in pair else pair.split("#")

    def nested(depth):
        inner = "{}" if closing == "}" else "[]"
        return opening * (depth - 1) + inner + closing * (depth - 1)

    for depth in (1, 2, 3):
        parse_json(nested(depth), max_depth=depth)
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(nested(depth + 1), max_depth=depth)
    parse_json(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(nested(depth))


def test_values_come_back_as_json_has_them():
    assert parse_json('{"a": [1, 2.5, "x", null, true], "b": {}}') == {
        "a": [1, 2.5, "x", None, True],
        "b": {},
    }
    assert parse_json("3", max_depth=0) == 3


@pytest.mark.parametrize("text", ['{"a": 1, "b": 2, "a": 1}', '[{"x": {"a": 1, "a": 2}}]'])
def test_a_key_that_occurs_twice_is_refused(text):
    with pytest.raises(ValueError, match="a key occurs twice"):
        parse_json(text)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_of_json_is_refused(word):
    with pytest.raises(ValueError, match=f"{word} is no number"):
        parse_json(f"[{word}]")


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nothing"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match="line 1"):
        parse_json(text)
