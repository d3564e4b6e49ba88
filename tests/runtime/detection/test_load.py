import numpy as np
import pytest

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.detection.load import load_detector
from emonet_deploy.runtime.media.frame import Frame


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("haar",), "choose auto, centerface"),
        (("auto", {"size": 8}), "too small"),
        (("none", {"size": 31}), "too small"),
        (("auto", {"min_score": 0.0}), "makes no sense"),
        (("none", {"min_score": 1.0}), "makes no sense"),
        (("yunet", {"model": "/no/such/file.onnx"}), "no YuNet model"),
    ],
)
def test_bad_choices_are_one_line(arguments, message):
    name, options = (*arguments, {})[:2]
    with pytest.raises(InputError, match=message) as failure:
        load_detector(name, **options)
    assert "\n" not in str(failure.value)


def test_what_is_just_allowed_is_taken():
    for options in ({"size": 32}, {"min_score": 0.01}, {"min_score": 0.99}):
        (face,) = load_detector("none", **options).detect(Frame(np.zeros((9, 9, 3), np.uint8)))
        assert face.ready


def test_auto_with_a_model_file_is_yunet_though_another_is_installed(tmp_path):
    with pytest.raises(InputError, match="no YuNet model"):
        load_detector("auto", model=tmp_path / "absent.onnx")


def test_the_lowest_score_parts_the_sure_from_the_faint():
    """The same faces, called otherwise."""
    from skimage import data

    frame = Frame(data.astronaut())
    (sure,) = load_detector("centerface").detect(frame)
    assert not sure.faint
    higher = load_detector("centerface", min_score=(1 + sure.score) / 2)
    (same,) = higher.detect(frame)
    assert same.faint
    assert (same.box, same.score) == (sure.box, sure.score)
