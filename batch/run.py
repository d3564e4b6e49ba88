"""A run on Ray Data: the frozen list, a pool of workers that hold a model, rows, a checkpoint.

A row is written once, or not at all: Ray Data marks what it is about to write, writes it, and
names it; the same run started again skips what has its name and removes what was only marked.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final

import pyarrow as pa

from emonet_deploy.batch.actor import ListedFaces, Reading
from emonet_deploy.batch.cluster import Cluster, Node, connected, finder_count, worker_count
from emonet_deploy.batch.finders import FaceFinder, FoundFaces
from emonet_deploy.batch.joining import join_run
from emonet_deploy.batch.listing import RunFolder, model_hash
from emonet_deploy.batch.outcome import Outcome, count_rows
from emonet_deploy.batch.parts import Part
from emonet_deploy.batch.progress import Progress, watched
from emonet_deploy.batch.segments import Segments, cut_files
from emonet_deploy.errors import BackendError, EmonetError, one_line
from emonet_deploy.runtime.detection.load import default_detector
from emonet_deploy.runtime.metadata import ModelInfo

__all__ = ["Workers", "run_batch", "run_settings", "write_rows"]

_Stage = tuple[Any, dict[str, Any]]
"""A class, and with what ``map_batches`` runs it."""

_PLACE: Final = ("threads", "device", "batch")
"""Options that change how fast rows are made, and not which."""


@dataclass(frozen=True)
class Workers:
    """The classes that answer ids with rows; their objects are made on other machines.

    Attributes:
        arguments: they are made with.
        alone: called with tables that have a column ``id``, answers a row for each, which has that
            too.
        finder: the same in two stages: called as ``alone`` is, it yields what ``reader`` needs.
        reader: called with what ``finder`` yields, answers as ``alone`` does.
    """

    arguments: tuple[object, ...]
    alone: Callable[..., Callable[[pa.Table], pa.Table]]
    finder: Callable[..., Callable[[pa.Table], Iterator[pa.Table]]] | None = None
    reader: Callable[..., Callable[[pa.Table], pa.Table]] | None = None


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
    segments: Segments | None = None,
) -> Outcome:
    """Read files on a cluster and write their rows below ``out``; go on where a run ended.

    Args:
        files: names or addresses that every worker can open, each once; not looked at where ``out``
            has a list already.
        out: a folder, or an address in an object store.
        reading: how files are read.
        info: the record of the model.
        cluster: where.
        progress: see there; it counts segments, where there are some.
        segments: how clips are cut; None for clips that are read whole.

    Raises:
        InputError: the folder holds another run, or the cluster has too few CPUs.
        BackendError: a worker failed by other than its input, or the cluster cannot be reached.
        MissingDependencyError: Ray is not installed.
    """
    folder = RunFolder.of(out)
    settings, parts = run_settings(reading, info), list[str | Part](files)
    if segments is not None:
        settings |= asdict(segments)
        parts = [] if folder.frozen else list(cut_files(files, segments))
    total = folder.freeze(parts, settings)
    workers = Workers((reading, folder), ListedFaces, FaceFinder, FoundFaces)
    write_rows(folder, total, workers, cluster, progress)
    return count_rows(out)


def write_rows(
    folder: RunFolder,
    total: int,
    workers: Workers,
    cluster: Cluster,
    progress: Progress = lambda done, total: None,
) -> None:
    """Let workers answer the ids below ``total`` that have no row yet, and write their rows.

    Args:
        folder: of the run.
        total: how many ids there are.
        workers: what answers them.
        cluster: where.
        progress: see there.

    Raises:
        EmonetError: as ``run_batch`` has it.
    """
    if folder.complete:
        return
    with connected(cluster) as nodes, watched(folder, total, progress):
        _map(folder, total, cluster.block, _stages(workers, nodes, cluster))
    if folder.written != folder.file("rows"):
        with folder.existing():
            join_run(folder)
    folder.finish()


def _stages(workers: Workers, nodes: Sequence[Node], cluster: Cluster) -> list[_Stage]:
    from ray.data import ActorPoolStrategy

    count = worker_count(nodes, cluster)
    finders = finder_count(nodes, cluster) if workers.finder is not None else 0
    common: dict[str, Any] = {
        "fn_constructor_args": workers.arguments,
        "batch_size": cluster.block,
        "batch_format": "pyarrow",
        "udf_modifying_row_count": False,
    }
    pool = ActorPoolStrategy(min_size=1, max_size=count)
    last = common | {"compute": pool, "num_gpus": cluster.gpus}
    if not finders:
        return [(workers.alone, last | {"num_cpus": cluster.cpus})]
    pool = ActorPoolStrategy(min_size=1, max_size=finders)
    # A GPU must not wait for a CPU that a finder has.
    last |= {"num_cpus": 0 if cluster.gpus else cluster.cpus}
    return [(workers.finder, common | {"compute": pool, "num_cpus": 1}), (workers.reader, last)]


def _map(folder: RunFolder, total: int, block: int, stages: Sequence[_Stage]) -> None:
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
            rows = ray.data.range(total, override_num_blocks=ceil(total / block))
            for worker, options in stages:
                rows = rows.map_batches(worker, **options)
            rows.write_parquet(folder.written, filesystem=folder.system)
    except (RayError, ConnectionError) as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, EmonetError):
            raise cause from error
        raise BackendError(
            f"the run ended early: {one_line(cause or error)}",
            hint="start it again with the same command: it goes on where it was",
        ) from error
