from emonet_deploy.benchmarks.accuracy.tables import (
    changes_table,
    gates_table,
    metrics_table,
    side_by_side,
)
from emonet_deploy.emonet_ref.constants import METRIC_NAMES, PUBLISHED


def test_every_metric_stands_beside_the_papers(summary):
    table = metrics_table(summary)
    assert table.columns == ["metric", "value", "95% interval", "published", "check"]
    assert tuple(row[0] for row in table.rows) == METRIC_NAMES
    name, value, interval, published, check = table.rows[METRIC_NAMES.index("arousal RMSE")]
    assert value == f"{summary.accuracy.arousal.RMSE:.4f}"
    low, high = map(float, interval.split(" to "))
    assert low <= float(value) <= high
    assert published == f"{PUBLISHED[8].arousal.RMSE:.2f}"
    assert check == ("pass" if summary.check[name].passed else "FAIL")


def test_changes_and_gates_say_what_was_found(summary):
    found = summary.against
    rows = {row[0]: row[1:] for row in changes_table(found).rows}
    change = found.changes["valence CCC"]
    assert rows["valence CCC"][:2] == (f"{change.reference:.4f}", f"{change.value:.4f}")
    gates = {row[0]: row[1:] for row in gates_table(found.gates).rows}
    assert gates["agreement"][0] == f"{found.agreement:.6g}"
    assert gates["agreement"][2] in ("pass", "FAIL")


def test_results_stand_side_by_side(summary):
    one = summary.to_dict()
    other = {**one, "precision": "fp32", "valence": {**one["valence"], "CCC": None}}
    table = side_by_side([other, one])
    assert list(table.columns) == ["metric", "onnx fp32", "onnx int8"]
    cells = {name: values for name, *values in table.rows}
    assert tuple(cells) == METRIC_NAMES
    assert cells["valence CCC"] == ["-", f"{summary.accuracy.valence.CCC:.4f}"]
