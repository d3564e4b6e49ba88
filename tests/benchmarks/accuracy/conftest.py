import cv2
import numpy as np
import pytest
from helpers.leaning_session import LeaningSession

from emonet_deploy.benchmarks.accuracy.gates import check_published, compare_runs
from emonet_deploy.benchmarks.accuracy.protocol import evaluate
from emonet_deploy.benchmarks.accuracy.summary import Summary
from emonet_deploy.benchmarks.datasets.base import Dataset, Sample
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.emonet_ref.constants import PUBLISHED


@pytest.fixture(scope="session")
def summary(tmp_path_factory):
    """30 samples of noise, and one that is missing, with everything that can be asked for."""
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(2)
    samples = []
    for number in range(30):
        name = f"<b>{number}.png"
        cv2.imwrite(str(folder / name), rng.integers(0, 256, (60, 60, 3), np.uint8))
        expression = NO_EXPRESSION if number == 3 else number % 7
        samples.append(Sample(name, expression, *rng.uniform(-1, 1, 2), (9, 9, 50, 50)))
    samples.append(Sample("gone.png", 0, 0.0, 0.0, None))
    dataset = Dataset("faces & <more>", folder, 8, tuple(samples))
    session = LeaningSession(precision="int8")
    run = evaluate(session, dataset)
    found = Summary.of(run, session, "standin", PUBLISHED[8])
    check = check_published(found.accuracy, PUBLISHED[8])
    against = compare_runs(evaluate(LeaningSession(gain=2.0), dataset), run, "int8")
    return Summary(**{**vars(found), "check": check, "against": against})
