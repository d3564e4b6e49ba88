import inspect
import pickle

import numpy as np
import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.detection.load import load_detector
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.pipeline.model_and_detector import ModelAndDetector
from emonet_deploy.runtime.pipeline.predictor import Predictor


def test_it_is_loaded_where_it_was_sent(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    sent = pickle.loads(pickle.dumps(ModelAndDetector(str(path), device="cpu", detector="none")))
    with sent.load_session() as session:
        assert (session.backend, session.device) == ("onnx", "cpu")
    (face,) = sent.load_detector().detect(Frame(np.zeros((20, 30, 3), np.uint8)))
    assert face.box == (0, 0, 30, 20)


def test_unless_told_otherwise_it_is_as_when_loaded_by_hand():
    made = ModelAndDetector("m.onnx")
    by_hand = inspect.signature(load_detector).parameters
    assert made.min_score == by_hand["min_score"].default
    assert made.detector == by_hand["name"].default
    assert made.batch == inspect.signature(Predictor).parameters["batch_size"].default


@pytest.mark.parametrize(
    ("options", "told"), [({"detect_size": 8}, "too small"), ({"min_score": 1.5}, "makes no sense")]
)
def test_what_is_asked_of_the_detector_reaches_it(options, told):
    with pytest.raises(InputError, match=told):
        ModelAndDetector("m.onnx", detector="none", **options).load_detector()
