import pytest

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.detection.load import load_detector


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("haar",), "choose auto, centerface"),
        (("auto", {"size": 8}), "too small"),
        (("auto", {"min_score": 0.0}), "makes no sense"),
        (("yunet", {"model": "/no/such/file.onnx"}), "no YuNet model"),
    ],
)
def test_bad_choices_are_one_line(arguments, message):
    name, options = (*arguments, {})[:2]
    with pytest.raises(InputError, match=message) as failure:
        load_detector(name, **options)
    assert "\n" not in str(failure.value)
