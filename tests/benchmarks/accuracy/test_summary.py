import json

import numpy as np


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
