import json
from dataclasses import replace

import numpy as np
import pytest

from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.benchmarks.parity.verdicts import Verdict
from emonet_deploy.errors import DatasetError, ParityError


def test_the_json_result_has_the_promised_fields(summary):
    result = json.loads(json.dumps(summary.to_dict(), allow_nan=False))
    assert {"nclass", "backend", "precision", "checkpoint", "n", "flip", "published"} <= set(result)
    assert result["expression"] == {"ACC": summary.accuracy.ACC}
    assert result["valence"]["CCC"] == summary.accuracy.valence.CCC
    assert set(result["arousal"]) == {"CCC", "PCC", "RMSE", "SAGR"}
    assert result["published"]["valence"]["RMSE"] == 0.29
    low, high = result["intervals"]["arousal"]["RMSE"]
    assert low <= result["arousal"]["RMSE"] <= high
    assert np.sum(result["confusion"]) == 29
    assert (result["n"], [m["path"] for m in result["missing"]]) == (30, ["gone.png"])
    assert result["recall"]["contempt"] is None
    assert result["against"]["gates"]["agreement"]["value"] == result["against"]["agreement"]
    assert set(result["check"]) == set(summary.accuracy.by_name())


def test_rows_of_the_confusion_are_the_truth_and_recall_is_their_share(summary):
    truth, made = summary.run.truth.expression, summary.run.prediction.expression
    for (row, column), found in np.ndenumerate(summary.confusion):
        assert found == sum((truth == row) & (made == column))
    for index, share in enumerate(summary.recall):
        of_class = made[truth == index]
        assert share == (np.mean(of_class == index) if len(of_class) else None)
    assert NO_EXPRESSION in truth


def test_speed_is_of_what_was_run_now(summary):
    run = replace(summary.run, fresh=30, seconds=4.0)
    assert replace(summary, run=run).throughput == 7.5
    assert replace(summary, run=replace(run, fresh=0)).throughput is None


def test_missing_pictures_and_failed_gates_are_errors(summary):
    fine = {"a": Verdict(1.0, 1.0, True)}
    failed = {"a": Verdict(1.0, 0.5, False)}
    whole = replace(summary, run=replace(summary.run, missing=()), check=None, against=None)
    whole.require("x")
    replace(whole, check=fine).require("x")
    lacking = replace(summary, check=None, against=None)
    with pytest.raises(DatasetError, match="1 of 31 pictures could not be used"):
        lacking.require("x")
    lacking.require("x", allow_missing=True)
    with pytest.raises(ParityError, match="x does not have the published accuracy: 1 of 1"):
        replace(whole, check=failed).require("x")
    with pytest.raises(ParityError, match="x lost too much against the reference: 1 of 1"):
        replace(whole, against=replace(summary.against, gates=failed)).require("x")


def test_what_was_not_asked_for_is_null_in_the_json(summary):
    bare = replace(summary, check=None, against=None, published=None).to_dict()
    assert (bare["check"], bare["against"], bare["published"]) == (None, None, None)
    full = summary.to_dict()
    assert full["against"]["n"] == 30
    assert full["against"]["ccc"]["valence"] == summary.against.ccc_valence
    assert full["against"]["ccc"]["arousal"] == summary.against.ccc_arousal
    assert (full["backend"], full["provider"]) == ("onnx", "fake")
