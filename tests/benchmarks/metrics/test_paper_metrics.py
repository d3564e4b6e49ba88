import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_deploy.benchmarks.metrics import paper_metrics as metrics
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION, Labels
from emonet_deploy.emonet_ref.constants import METRIC_NAMES, PUBLISHED, Accuracy
from emonet_deploy.errors import InputError

unit = st.floats(-1, 1)


@pytest.fixture(scope="module")
def golden(data):
    return dict(np.load(data / "metrics.npz"))


def test_the_authors_values_are_reproduced(golden):
    g, p = golden["ground_truth"], golden["prediction"]
    found = metrics.regression(g, p)
    for name, value in dataclasses.asdict(found).items():
        assert value == pytest.approx(float(golden[name]), abs=1e-14)
    share = metrics.expression_accuracy(golden["expression_gt"], golden["expression_pred"])
    assert share == pytest.approx(float(golden["ACC"]), abs=1e-15)


@given(st.lists(st.tuples(unit, unit), min_size=2, max_size=30))
def test_correlations_match_numpys_moments_and_are_never_nan(pairs):
    g, p = np.array(pairs).T
    found = metrics.regression(g, p)
    assert 0 <= found.RMSE <= 2
    assert 0 <= found.SAGR <= 1
    if np.ptp(g) < 1e-3 or np.ptp(p) < 1e-3:
        assert found.PCC is None or -1 <= found.PCC <= 1
        assert found.CCC is None or -1 <= found.CCC <= 1
        return
    (vg, cov), (_, vp) = np.cov(g, p, bias=True)
    assert pytest.approx(np.corrcoef(g, p)[0, 1], abs=1e-9) == found.PCC
    assert pytest.approx(2 * cov / (vg + vp + (g.mean() - p.mean()) ** 2), abs=1e-9) == found.CCC


def test_zero_is_a_sign_of_its_own():
    assert metrics.sagr([0.0, 0.0, 0.5, -0.5], [0.0, 0.1, 0.2, 0.2]) == 0.5


@pytest.mark.parametrize("constant", [0.0, 0.1, -0.7])
def test_a_correlation_with_equal_labels_is_undefined(constant):
    g, p = [constant] * 7, np.linspace(-1, 1, 7)
    for found in (metrics.regression(g, p), metrics.regression(p, g)):
        assert found.CCC is None
        assert found.PCC is None
        assert found.RMSE > 0


def test_one_sample_has_an_error_but_no_correlation():
    found = metrics.regression([0.5], [0.25])
    assert (found.CCC, found.PCC, found.RMSE, found.SAGR) == (None, None, 0.25, 1.0)


def test_no_sample_is_an_error():
    none = np.empty(0)
    with pytest.raises(InputError, match="at least one sample"):
        metrics.accuracy(Labels(none.astype(int), none, none), Labels(none.astype(int), none, none))


@pytest.mark.parametrize(
    ("expression", "valence", "arousal"),
    [(2, 1, 1), (1, 2, 1), (1, 1, 2), (0, 0, 1)],
)
def test_labels_are_of_one_length(expression, valence, arousal):
    with pytest.raises(InputError, match="one length"):
        Labels(np.zeros(expression, int), np.zeros(valence), np.zeros(arousal))
    with pytest.raises(InputError, match="one length"):
        Labels(np.zeros((2, 1), int), np.zeros((2, 1)), np.zeros((2, 1)))


def test_labels_are_counted_and_taken_by_index():
    labels = Labels(np.array([3, 4, 5]), np.array([0.3, 0.4, 0.5]), np.array([-0.3, -0.4, -0.5]))
    assert len(labels) == 3
    taken = labels[np.array([2, 0])]
    assert taken.expression.tolist() == [5, 3]
    assert taken.valence.tolist() == [0.5, 0.3]
    assert taken.arousal.tolist() == [-0.5, -0.3]


@pytest.mark.parametrize(
    "metric", [metrics.rmse, metrics.sagr, metrics.pcc, metrics.ccc, metrics.regression]
)
@pytest.mark.parametrize(("truth", "guess"), [([1.0, 0.5], [1.0]), ([[1.0]], [[1.0]]), ([], [])])
def test_a_metric_wants_two_lists_of_one_length(metric, truth, guess):
    with pytest.raises(InputError, match="two lists of one length"):
        metric(truth, guess)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_scaled_copy_correlates_exactly_and_is_no_concordance(sign):
    """Lin 1989: a scale a costs CCC 2a / (1 + a^2), a shift b its square in the denominator."""
    g = np.array([-0.4, 0.0, 0.4])
    assert metrics.pcc(g, sign * 0.5 * g) == pytest.approx(sign)
    assert metrics.ccc(g, sign * 0.5 * g) == pytest.approx(sign * 0.8)
    variance = 0.32 / 3
    assert metrics.ccc(g, g + 0.2) == pytest.approx(2 * variance / (2 * variance + 0.04))


def test_what_varies_too_little_to_be_multiplied_has_no_correlation():
    found = metrics.regression([0.0, 1e-200], [0.0, 1e-200])
    assert (found.PCC, found.CCC, found.RMSE) == (None, None, 0.0)


@pytest.mark.parametrize("infinite", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("axis", ["valence", "arousal"])
def test_a_label_that_is_not_finite_is_an_error(infinite, axis):
    values = {"valence": np.zeros(2), "arousal": np.zeros(2)} | {axis: np.array([0.0, infinite])}
    with pytest.raises(InputError, match="NaN or infinity"):
        Labels(np.zeros(2, int), **values)


def test_samples_without_a_class_do_not_count_in_acc():
    truth = Labels(np.array([1, NO_EXPRESSION, 2]), np.zeros(3), np.zeros(3))
    guess = Labels(np.array([1, 0, 0]), np.zeros(3), np.zeros(3))
    assert metrics.accuracy(truth, guess).ACC == 0.5
    assert metrics.confusion_matrix(truth, guess, 3).tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert metrics.expression_accuracy([NO_EXPRESSION], [3]) is None


def test_rows_of_the_confusion_matrix_are_the_truth():
    zeros = np.zeros(4)
    truth = Labels(np.array([0, 0, 1, 1]), zeros, zeros)
    guess = Labels(np.array([0, 1, 1, 1]), zeros, zeros)
    confusion = metrics.confusion_matrix(truth, guess, 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert metrics.per_class_recall(confusion) == [0.5, 1.0, None]


def test_metrics_go_by_the_papers_names():
    named = PUBLISHED[8].by_name()
    assert tuple(named) == METRIC_NAMES
    assert (named["expression ACC"], named["valence RMSE"], named["arousal SAGR"]) == (
        0.75,
        0.29,
        0.80,
    )


def test_accuracy_may_lack_an_acc():
    truth = Labels(np.array([NO_EXPRESSION]), np.array([0.5]), np.array([0.5]))
    assert isinstance(metrics.accuracy(truth, truth), Accuracy)
    assert metrics.accuracy(truth, truth).ACC is None
