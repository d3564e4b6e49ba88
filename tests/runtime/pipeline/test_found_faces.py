"""Finding and reading apart, against the pipeline that does both."""

import pickle

import numpy as np
from helpers.fake_session import FakeSession

from emonet_deploy.runtime.detection.base import Detection
from emonet_deploy.runtime.pipeline.found_faces import find_faces, read_found
from emonet_deploy.runtime.pipeline.pipeline import EmotionPipeline
from emonet_deploy.runtime.pipeline.predictor import Predictor


class Two:
    """Finds two faces and what may be a third, in pictures that are not dark."""

    def detect(self, frame):
        if frame.image.max() < 50:
            return []
        return [
            Detection((10.0, 20.0, 60.0, 80.0), 0.9),
            Detection((70.0, 5.0, 110.0, 66.0), 0.7, turns=1),
            Detection((5.0, 5.0, 20.0, 20.0), 0.2, faint=True),
        ]


def test_what_was_found_and_sent_is_read_as_by_the_pipeline():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(60, 256, (90, 120, 3), np.uint8) for _ in range(2)]
    pictures.insert(1, np.zeros((40, 30, 3), np.uint8))
    found = [pickle.loads(pickle.dumps(find_faces(picture, Two()))) for picture in pictures]
    assert [(one.width, one.height) for one in found] == [(120, 90), (30, 40), (120, 90)]
    assert [len(one.images()) for one in found] == [2, 0, 2]

    session = FakeSession()
    apart = read_found(found, Predictor(session, batch_size=3))
    assert session.batches == [3, 1]  # faces of several pictures share a batch
    together = EmotionPipeline(FakeSession(), Two()).run(pictures)
    for faces, result in zip(apart, together, strict=True):
        assert len(faces) == len(result.faces)
        for ours, theirs in zip(faces, result.faces, strict=True):
            assert (ours.identity, ours.box, ours.score) == (
                theirs.identity, theirs.box, theirs.score,
            )  # fmt: skip
            assert ours.prediction.probabilities == theirs.prediction.probabilities
            np.testing.assert_array_equal(ours.prediction.landmarks, theirs.prediction.landmarks)
