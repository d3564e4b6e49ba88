"""Samples shared out over workers give what one machine gives, whatever their order."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.fake_session import FakeSession

pytest.importorskip("ray")
import pyarrow as pa
import pyarrow.parquet as pq

from emonet_deploy.benchmarks.accuracy.protocol import evaluate
from emonet_deploy.benchmarks.datasets.load import read_dataset
from emonet_deploy.commands.eval import over_machines
from emonet_deploy.commands.eval.options import Machines
from emonet_deploy.commands.eval.over_machines import Judge, evaluate_on
from emonet_deploy.errors import InputError

N, BATCH, ADDRESS = 11, 4, "http://127.0.0.1:1/v2/models/emonet"


@pytest.fixture
def dataset(tmp_path):
    lines = ["path,expression,valence,arousal"]
    for i in range(N):
        if i not in (5, 8):
            cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((64, 64, 3), 20 * i, np.uint8))
        lines.append(f"{i}.png,{i % 8},{i / 20},{-i / 20}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return read_dataset(tmp_path / "t.csv", 8)


@pytest.fixture
def calls(monkeypatch):
    """Do what the cluster would, in this process, the last batch first."""
    seen = []

    def write_rows(folder, total, workers, cluster, progress):
        seen.append((total, cluster.block))
        worker = workers.alone(*workers.arguments)
        rows = Path(folder.path) / "rows"
        rows.mkdir()
        for done, number in enumerate(reversed(range(total)), 1):
            pq.write_table(worker(pa.table({"id": [number]})), rows / f"{done}.parquet")
            progress(done, total)
        folder.finish()

    monkeypatch.setattr(over_machines, "write_rows", write_rows)
    return seen


def judge(dataset, flip=False, batch=BATCH):
    return Judge(ADDRESS, lambda model: FakeSession(), dataset, flip, batch)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("batch", "batches"), [(4, 3), (11, 1), (1, 11), (20, 1)])
def test_the_predictions_are_those_of_one_machine(tmp_path, dataset, calls, flip, batch, batches):
    local = evaluate(FakeSession(), dataset, flip=flip, batch=batch)
    told = []
    found = evaluate_on(
        Machines("local", str(tmp_path / "rows")), judge(dataset, flip, batch),
        {"model": ADDRESS}, lambda *state: told.append(state),
    )  # fmt: skip
    assert calls[0][0] == batches
    assert told[-1] == (batches, batches)
    for name in ("expression", "valence", "arousal"):
        np.testing.assert_array_equal(
            getattr(found.prediction, name), getattr(local.prediction, name)
        )
    assert found.missing == local.missing
    assert [Path(each.path).name for each in found.missing] == ["5.png", "8.png"]
    assert found.fresh == N - 2
    assert 0 < found.seconds < 600


def test_the_list_says_where_each_batch_begins(tmp_path, dataset, calls):
    evaluate_on(
        Machines("local", str(tmp_path / "rows")), judge(dataset), {"model": ADDRESS},
        lambda *_: None,
    )  # fmt: skip
    listed = pq.read_table(next((tmp_path / "rows").glob("_list.parquet")))
    text = " ".join(str(value) for row in listed.to_pylist() for value in row.values())
    for first in (0, 4, 8):
        assert f"{first} {dataset.samples[first].path}" in text


def test_rows_of_other_settings_are_not_continued(tmp_path, dataset, calls):
    machines = Machines("local", str(tmp_path / "rows"))
    evaluate_on(machines, judge(dataset), {"model": ADDRESS}, lambda *_: None)
    for other in (judge(dataset, batch=5), judge(dataset.first(8))):
        with pytest.raises(InputError, match="another"):
            evaluate_on(machines, other, {"model": ADDRESS}, lambda *_: None)
    with pytest.raises(InputError, match="another"):
        evaluate_on(machines, judge(dataset), {"model": ADDRESS, "flip": 1}, lambda *_: None)


@pytest.mark.parametrize("machines", [Machines("local"), Machines(None, "rows"), Machines()])
def test_a_cluster_and_a_place_go_together(dataset, machines):
    with pytest.raises(InputError, match="--ray and --rows go together"):
        evaluate_on(machines, judge(dataset), {}, lambda *_: None)
