"""From the bytes of a request to its answer, without a server."""

import cv2
import numpy as np
import pytest
from helpers.fake_session import FakeSession

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.detection.base import Detection
from emonet_deploy.runtime.output.sinks import face_values
from emonet_deploy.runtime.pipeline.found_faces import read_found
from emonet_deploy.runtime.pipeline.pipeline import EmotionPipeline
from emonet_deploy.runtime.pipeline.predictor import Predictor
from emonet_deploy.serving.find_and_answer import answer, find
from emonet_deploy.serving.worker_settings import Settings

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
PNG = cv2.imencode(".png", IMAGE[..., ::-1])[1].tobytes()


class Two:
    def detect(self, frame):
        return [
            Detection((10.125, 20.0, 60.0, 80.0), 0.87654321),
            Detection((70.0, 5.0, 110.0, 66.0), 0.7),
        ]


def test_a_picture_is_answered_as_the_pipeline_says_it():
    found = find(memoryview(PNG), Two())
    (faces,) = read_found([found], Predictor(FakeSession()))
    answered = answer(found, faces)
    assert (answered.width, answered.height) == (120, 90)
    (result,) = EmotionPipeline(FakeSession(), Two()).run([IMAGE])
    expected = [face_values(face) for face in result.faces]
    for position, (ours, theirs) in enumerate(zip(answered.faces, expected, strict=True)):
        assert theirs.pop("face") == position
        assert vars(ours) == theirs


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "is empty"),
        (b"no picture", "is not a JPEG"),
        (b"--x\r\nContent-Disposition: form-data; name=f\r\n\r\n" + PNG, "is a form"),
        (b"--" + b"x" * 900 + b"form-data" + PNG, "is a form"),
        (b"--no picture", "is not a JPEG"),
        (b"form-data", "is not a JPEG"),
        (b"--" + b"x" * 1100 + b"form-data", "is not a JPEG"),
    ],
    ids=range(7),
)
def test_what_is_no_picture_is_told_with_how_to_send_one(body, told):
    with pytest.raises(InputError, match=rf"the body of the request {told}.*--data-binary @FILE"):
        find(body, Two())


def test_settings_reach_a_worker_through_its_environment(monkeypatch):
    settings = Settings("m.onnx", "onnx", "cpu", 3, batch=5, min_score=0.7, crop="stretch")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.of_environment() == settings
    assert settings.access_log  # unless told otherwise
