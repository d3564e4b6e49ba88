"""A run on Ray Data: the frozen list, a pool of workers that hold a model, rows, a checkpoint.

A row is written once, or not at all: Ray Data marks what it is about to write, writes it, and
names it; the same run started again skips what has its name and removes what was only marked.
"""

from collections.abc import Sequence
from dataclasses import asdict
from math import ceil
from typing import Any, Final, Protocol

import pyarrow as pa

from emonet_deploy.batch.actor import ListedFaces, Reading
from emonet_deploy.batch.cluster import Cluster, connected, worker_count
from emonet_deploy.batch.listing import RunFolder, model_hash
from emonet_deploy.batch.outcome import Outcome, count_rows
from emonet_deploy.batch.progress import Progress, watched
from emonet_deploy.errors import BackendError, EmonetError, one_line
from emonet_deploy.runtime.detection.load import default_detector
from emonet_deploy.runtime.metadata import ModelInfo

__all__ = ["Worker", "run_batch", "run_settings", "write_rows"]

_PLACE: Final = ("threads", "device", "batch")
"""Options that change how fast rows are made, and not which."""


class Worker(Protocol):
    """What answers ids with rows."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return a row for each id."""


def run_settings(reading: Reading, info: ModelInfo) -> dict[str, Any]:
    """Return what decides over the rows of a run, by name: the model's record and the options.

    Raises:
        InputError: the model of faces or of the detector cannot be read.
    """
    options = {key: value for key, value in asdict(reading).items() if key not in _PLACE}
    options["model"] = info.to_json() if "://" in reading.model else model_hash(reading.model)
    if reading.detector_model is not None:
        options["detector_model"] = model_hash(reading.detector_model)
    elif reading.detector == "auto":
        options["detector"] = f"auto: {default_detector()}"
    return options


def run_batch(
    files: Sequence[str],
    out: str,
    reading: Reading,
    info: ModelInfo,
    cluster: Cluster,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Read files on a cluster and write their rows below ``out``; go on where a run ended.

    Args:
        files: names or addresses that every worker can open, each once; not looked at where ``out``
            has a list already.
        out: a folder, or an address in an object store.
        reading: how files are read.
        info: the record of the model.
        cluster: where.
        progress: see there.

    Raises:
        InputError: the folder holds another run, or the cluster has too few CPUs.
        BackendError: a worker failed by other than its input, or the cluster cannot be reached.
        MissingDependencyError: Ray is not installed.
    """
    folder = RunFolder.of(out)
    total = folder.freeze(files, run_settings(reading, info))
    write_rows(folder, total, ListedFaces, (reading, folder), cluster, progress)
    return count_rows(out)


def write_rows(
    folder: RunFolder,
    total: int,
    worker: type[Worker],
    arguments: Sequence[object],
    cluster: Cluster,
    progress: Progress = lambda done, total: None,
) -> None:
    """Let workers answer the ids below ``total`` that have no row yet, and write their rows.

    Args:
        folder: of the run.
        total: how many ids there are.
        worker: made on other machines with ``arguments``; is called with tables that have a column
            ``id``, and answers a row for each, which has that too.
        arguments: of the worker.
        cluster: where.
        progress: see there.

    Raises:
        EmonetError: as ``run_batch`` has it.
    """
    if folder.complete:
        return
    with connected(cluster) as nodes, watched(folder, total, progress):
        count = worker_count(nodes, cluster)
        _map(folder, total, worker, arguments, cluster, count)
    folder.finish()


def _map(
    folder: RunFolder,
    total: int,
    worker: type[Worker],
    arguments: Sequence[object],
    cluster: Cluster,
    count: int,
) -> None:
    import ray.data
    from ray.data.checkpoint import CheckpointConfig
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.checkpoint_config = CheckpointConfig(
        "id",
        folder.file("_checkpoint"),
        delete_checkpoint_on_success=False,
        override_filesystem=folder.system,
    )
    try:
        with ray.data.DataContext.current(context):
            ray.data.range(total, override_num_blocks=ceil(total / cluster.block)).map_batches(
                worker,
                fn_constructor_args=arguments,
                batch_size=cluster.block,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=count),
                num_cpus=cluster.cpus,
                num_gpus=cluster.gpus,
                udf_modifying_row_count=False,
            ).write_parquet(folder.file("rows"), filesystem=folder.system)
    except (RayError, ConnectionError) as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, EmonetError):
            raise cause from error
        raise BackendError(
            f"the run ended early: {one_line(cause or error)}",
            hint="start it again with the same command: it goes on where it was",
        ) from error
