import numpy as np
import pytest

from emonet_deploy.benchmarks.parity.ties import DEVIATIONS, count_equal
from emonet_deploy.runtime.precision_specs import Gates, gates_of


def probabilities(gaps, nclass=4):
    """Faces whose first two classes lie ``gap`` apart, the first one ahead; the rest small."""
    rows = np.full((len(gaps), nclass), 0.02)
    rest = 1 - 0.02 * (nclass - 2)
    rows[:, 0], rows[:, 1] = (rest + np.array(gaps)) / 2, (rest - np.array(gaps)) / 2
    return rows


def test_a_face_within_three_times_the_measured_error_is_a_tie():
    gaps = np.array([0.5, -0.4, 0.3, 0.001, 0.2, -0.6, 0.4, 0.3])
    error = np.array([0.01, -0.01, 0.01, -0.01, 0.01, -0.01, 0.01, -0.01])
    truth, made = probabilities(gaps), probabilities(gaps + error)
    found = count_equal(truth, made, Gates(ccc=0.9))
    assert found.margin == pytest.approx(DEVIATIONS * 0.01)  # the error's root mean square
    assert found.tied.tolist() == [False] * 3 + [True] + [False] * 4
    assert found.share == 7 / 8
    assert found.share_apart == 1


def test_an_artifact_does_not_excuse_itself_with_its_own_error():
    rng = np.random.default_rng(0)
    gaps = rng.uniform(-0.6, 0.6, 200)
    truth, made = probabilities(gaps), probabilities(rng.permutation(gaps))
    for precision, most in (("fp16", 0.02), ("int8", 0.2)):
        found = count_equal(truth, made, gates_of(precision))
        spread = truth.std(0).mean()
        share = np.sqrt(2 * (1 - gates_of(precision).ccc))
        assert found.margin == pytest.approx(DEVIATIONS * share * spread * np.sqrt(2))
        assert found.margin < most
        assert found.share_apart < 0.7


def test_where_all_are_ties_there_is_no_share_apart():
    truth = probabilities(np.array([1e-6, -1e-6, 0.4]))[:2]
    made = probabilities(np.array([-1e-3, 1e-3, 0.4]))[:2]
    found = count_equal(truth, made, Gates(ccc=-1e6))
    assert found.tied.all()
    assert found.share_apart is None
    assert found.share == 0


def test_without_a_gate_on_correlation_that_on_the_error_bounds_the_margin():
    truth, made = probabilities([0.5, -0.4, 0.3]), probabilities([-0.5, 0.4, -0.3])
    spread = truth.std(0).mean()
    for gates, share in ((Gates(max_error=0.01), 0.01), (Gates(), 0.0), (Gates(ccc=1.0), 0.0)):
        found = count_equal(truth, made, gates)
        assert found.margin == pytest.approx(DEVIATIONS * share * spread * np.sqrt(2))
        assert found.tied.tolist() == [False] * 3
        assert found.equal.tolist() == [False] * 3
        assert found.share_apart == 0


def test_the_margin_of_one_face_is_three_times_its_error():
    # Two classes of the reference lie 0.2 apart, the artifact's 0.3.
    truth, made = np.array([[0.1, 0.35, 0.55]]), np.array([[0.1, 0.3, 0.6]])
    found = count_equal(truth, made, Gates(ccc=-1e9))
    assert found.margin == pytest.approx(0)  # one face has no spread
    truth, made = np.tile(truth, (2, 1)), np.tile(made, (2, 1))
    truth[1], made[1] = [0.8, 0.1, 0.1], [0.8, 0.1, 0.1]
    found = count_equal(truth, made, Gates(ccc=-1e9))
    assert found.margin == pytest.approx(3 * np.sqrt((0.1**2 + 0) / 2))
    assert found.tied.tolist() == [True, False]
    assert found.equal.tolist() == [True, True]
