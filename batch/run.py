"""A run on Ray Data: the frozen list, a pool of workers that hold a model, rows, a checkpoint.

A row is written once, or not at all: Ray Data marks what it is about to write, writes it, and
names it; the same run started again skips what has its name and removes what was only marked.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final

from emonet_deploy.batch.actor import ListedFaces, Reading
from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.errors import BackendError, EmonetError, InputError, one_line
from emonet_deploy.runtime.hardware.cpu import usable_processors
from emonet_deploy.runtime.metadata import ModelInfo

__all__ = ["Cluster", "Outcome", "count_rows", "run_batch", "run_settings", "worker_count"]

_SECONDARY: Final = 1
"""CPUs left to Ray Data's own tasks (reading, checkpoint, writing); without, it waits for ever."""

_PLACE: Final = ("threads", "device", "batch")
"""Options that change how fast rows are made, and not which."""


@dataclass(frozen=True)
class Cluster:
    """Where a run takes place.

    Attributes:
        address: ``local`` starts Ray on this machine, ``auto`` takes the cluster this machine
            belongs to, anything else is a cluster's address.
        workers: that hold the model; None for as many as there are CPUs for.
        cpus: of each worker.
        gpus: of each worker.
        block: files that are written together, and done again together if a worker dies.
    """

    address: str = "local"
    workers: int | None = None
    cpus: int = 1
    gpus: float = 0.0
    block: int = 64


@dataclass(frozen=True)
class Outcome:
    """What a run has come to.

    Attributes:
        files: of the list.
        rows: that lie there; as many as files when the run is complete.
        faces: in them.
        unreadable: how many files could not be read.
        reasons: of the first of those: file, reason.
    """

    files: int
    rows: int
    faces: int
    unreadable: int
    reasons: tuple[tuple[str, str], ...]


def run_settings(reading: Reading, info: ModelInfo) -> dict[str, Any]:
    """Return what decides over the rows of a run, by name: the model's record and the options."""
    options = {key: value for key, value in asdict(reading).items() if key not in _PLACE}
    served = "://" in reading.model
    options["model"] = info.to_json() if served else f"sha256:{sha256_file(reading.model)}"
    return options


def worker_count(cpus: float, cluster: Cluster) -> int:
    """Return how many workers to start on a cluster with so many CPUs.

    Raises:
        InputError: no CPU would be left for Ray Data's own tasks, so that it would wait for ever.
    """
    room = int((cpus - _SECONDARY) // cluster.cpus)
    workers = room if cluster.workers is None else cluster.workers
    if not 1 <= workers <= room:
        raise InputError(
            f"{max(1, workers)} workers of {cluster.cpus} CPUs need "
            f"{max(1, workers) * cluster.cpus + _SECONDARY} CPUs with the one that reads and "
            f"writes, and Ray has {cpus:g}",
            hint="lower --workers or --cpus, or add a machine",
        )
    return workers


def run_batch(
    files: Sequence[str], out: str, reading: Reading, info: ModelInfo, cluster: Cluster
) -> Outcome:
    """Read files on a cluster and write their rows below ``out``; go on where a run ended.

    Args:
        files: names or addresses that every worker can open, each once.
        out: a folder, or an address in an object store.
        reading: how files are read.
        info: the record of the model.
        cluster: where.

    Raises:
        InputError: the folder holds another run, or the cluster has too few CPUs.
        BackendError: a worker failed by other than its input, or the cluster cannot be reached.
        MissingDependencyError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with needs("batch", "run over many machines"):
        import ray
        import ray.data
        from ray.data.checkpoint import CheckpointConfig
        from ray.exceptions import RayError
    folder = RunFolder.of(out)
    total = folder.freeze(files, run_settings(reading, info))
    if not folder.complete:
        ours = not ray.is_initialized()
        try:
            if ours:
                _connect(ray, cluster)
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            workers = worker_count(resources.get("CPU", 0), cluster)
            system = folder.system
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            context.checkpoint_config = CheckpointConfig(
                "id",
                folder.file("_checkpoint"),
                delete_checkpoint_on_success=False,
                override_filesystem=system,
            )
            ray.data.range(total, override_num_blocks=ceil(total / cluster.block)).map_batches(
                ListedFaces,
                fn_constructor_args=(reading, folder),
                batch_size=cluster.block,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
                num_cpus=cluster.cpus,
                num_gpus=cluster.gpus,
                scheduling_strategy="SPREAD",
                udf_modifying_row_count=False,
            ).write_parquet(folder.file("rows"), filesystem=system)
        except EmonetError:
            raise
        except (RayError, ConnectionError) as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, EmonetError):
                raise cause from error
            raise BackendError(f"the run ended early: {one_line(cause or error)}") from error
        finally:
            if ours:
                ray.shutdown()
        folder.finish()
    return count_rows(out)


def count_rows(out: str, named: int = 20) -> Outcome:
    """Return what lies in a run's folder, read group by group.

    Args:
        out: of the run.
        named: how many unreadable files are named.

    Raises:
        InputError: no run lies there.
    """
    folder = RunFolder.of(out)
    rows = faces = unreadable = 0
    reasons: list[tuple[str, str]] = []
    with folder.existing():
        files = len(folder.files())
        for batch in folder.rows().to_batches(columns=["file", "error", "faces"]):
            rows += batch.num_rows
            faces += len(batch.column("faces").flatten())
            error = batch.column("error")
            bad = batch.filter(error.is_valid())
            unreadable += bad.num_rows
            some = bad.slice(0, named - len(reasons))
            reasons += zip(*(some.column(c).to_pylist() for c in ("file", "error")), strict=True)
    return Outcome(files, rows, faces, unreadable, tuple(reasons))


def _connect(ray: Any, cluster: Cluster) -> None:  # noqa: ANN401 - a module
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address == "local":
        # One more than there are: what reads and writes takes next to none of it.
        processors = usable_processors()
        ray.init("local", num_cpus=processors + _SECONDARY, include_dashboard=False, **quiet)
    else:
        ray.init(cluster.address, **quiet)
