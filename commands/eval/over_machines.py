"""``emonet eval --ray``: samples shared out over machines, with the batches and metrics of one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from emonet_deploy.benchmarks.accuracy.protocol import (
    Evaluation,
    Missing,
    evaluation_of,
    predict_samples,
)
from emonet_deploy.benchmarks.datasets.base import Dataset
from emonet_deploy.commands.eval.options import Machines
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.session import Session

with needs("batch", "evaluate over many machines"):
    import pyarrow as pa

    from emonet_deploy.batch.cluster import Cluster
    from emonet_deploy.batch.listing import RunFolder
    from emonet_deploy.batch.run import Workers, write_rows

__all__ = ["Judge", "evaluate_on"]

_BLOCK: Final = 8
"""Batches whose rows are written together."""

_ROW: Final = pa.schema(
    [
        ("id", pa.int64()),
        ("samples", pa.list_(pa.int64())),
        ("expression", pa.list_(pa.int64())),
        ("valence", pa.list_(pa.float64())),
        ("arousal", pa.list_(pa.float64())),
        ("missing", pa.list_(pa.struct([("path", pa.string()), ("reason", pa.string())]))),
    ]
)


@dataclass(frozen=True)
class Judge:
    """What a worker needs: how to load the model, the samples, and how they are run.

    Attributes:
        model: an artifact, or the address of a served one.
        load: opens it.
        dataset: all samples; each worker can read their pictures.
        flip: see ``evaluate``.
        batch: samples run at once. An id is the number of a batch, so that those are the same as on
            one machine, and with them the last digit.
    """

    model: str
    load: Callable[[str], Session]
    dataset: Dataset
    flip: bool
    batch: int


class _Worker:
    def __init__(self, judge: Judge, folder: RunFolder) -> None:
        folder.require_model(judge.model)
        self._judge = judge
        self._session = judge.load(judge.model)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the predictions of the batches with these numbers, a row for each."""
        rows = [self._row(number) for number in table.column("id").to_pylist()]
        return pa.Table.from_pylist(rows, schema=_ROW)

    def _row(self, number: int) -> dict[str, Any]:
        judge = self._judge
        first = number * judge.batch
        chosen = list(range(first, min(first + judge.batch, len(judge.dataset))))
        numbers, values, missing = predict_samples(self._session, judge.dataset, chosen, judge.flip)
        return {
            "id": number,
            "samples": numbers,
            "expression": values[:, 0].astype(int),
            "valence": values[:, 1],
            "arousal": values[:, 2],
            "missing": [{"path": each.path, "reason": each.reason} for each in missing],
        }


def evaluate_on(
    machines: Machines,
    judge: Judge,
    settings: dict[str, Any],
    progress: Callable[[int, int], None],
) -> Evaluation:
    """Predict every sample of a data set on a cluster; go on where a run ended.

    Args:
        machines: where, and where the rows lie.
        judge: what, and on what.
        settings: what else decides the predictions; rows made with others are not continued.
        progress: told how many batches are done, and of how many.

    Raises:
        InputError: no place for the rows was named, or another run lies there.
        EmonetError: as ``write_rows`` and ``evaluate`` have it.
    """
    if machines.ray is None or machines.rows is None:
        raise InputError("--ray and --rows go together", hint="name a folder or an address")
    folder, dataset = RunFolder.of(machines.rows), judge.dataset
    batches = -(-len(dataset) // judge.batch)
    settings = settings | {"dataset": dataset.fingerprint(), "batch": judge.batch}
    # The list says which sample begins a batch: whoever reads the rows finds its picture.
    total = folder.freeze(
        [f"{i * judge.batch} {dataset.samples[i * judge.batch].path}" for i in range(batches)],
        settings,
    )
    started = time.perf_counter()
    cluster = Cluster(machines.ray, machines.ray_workers, block=_BLOCK)
    write_rows(folder, total, Workers((judge, folder), _Worker), cluster, progress)
    table, missing = np.full((len(dataset), 3), np.nan), list[tuple[int, Missing]]()
    with folder.existing():
        for rows in folder.rows().to_batches():
            numbers = rows.column("samples").flatten().to_numpy()
            for column, name in enumerate(("expression", "valence", "arousal")):
                table[numbers, column] = rows.column(name).flatten().to_numpy()
            for number, lost in zip(
                rows.column("id").to_pylist(), rows.column("missing").to_pylist(), strict=True
            ):
                missing += [(number, Missing(each["path"], each["reason"])) for each in lost]
    missing.sort(key=lambda each: each[0])
    return evaluation_of(
        dataset,
        table,
        [lost for _, lost in missing],
        judge.flip,
        int(np.count_nonzero(~np.isnan(table[:, 0]))),
        time.perf_counter() - started,
    )
