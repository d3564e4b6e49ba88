"""What ``emonet bench`` does: load everything, measure it in turns, and write it down."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from emonet_deploy.benchmarks.choices import Peer
from emonet_deploy.benchmarks.speed.bench import BenchRow, Candidate, run_bench
from emonet_deploy.benchmarks.speed.reference import choose_layout
from emonet_deploy.benchmarks.speed.table import bench_table
from emonet_deploy.benchmarks.speed.tradeoff_plot import plot
from emonet_deploy.commands.judging import parity_crops
from emonet_deploy.commands.prepare_artifacts import obtain
from emonet_deploy.emonet_ref.checkpoint import load_checkpoint
from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.errors import InputError
from emonet_deploy.export.quantization.calibrate import calibration_crops
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.choices import Backend, Device
from emonet_deploy.runtime.hardware.gpu import cuda_device_count
from emonet_deploy.runtime.hardware.memory import keep_freed_memory
from emonet_deploy.runtime.output.table_formats import as_markdown

__all__ = ["BenchPlan", "measure", "write_files"]

CALIBRATION_FACES: Final = 16
"""For peers in int8: PyTorch's observers take seconds for each."""


@dataclass(frozen=True)
class BenchPlan:
    """What to measure: each artifact at each batch size and number of threads.

    Attributes:
        source: the reference's checkpoint.
        artifacts: each with what runs it; the checkpoint itself gives a row of the reference.
        peers: other runtimes, of ``benchmarks.speed.other_runtimes.PEERS``; where threads are a
            number, so that all have the same.
        batches: batch sizes.
        threads: numbers of CPU threads; None is each library's own choice.
        device: for the artifacts.
        cuda_graph: whether engines run as CUDA graphs where that works.
        seconds: measured time a row, on average.
        faces: how many faces the agreement is measured on.
        out: where the plain ONNX model for the peers is, or is made.
    """

    source: Checkpoint
    artifacts: Sequence[tuple[str | Path, Backend]]
    peers: Sequence[Peer]
    batches: Sequence[int]
    threads: Sequence[int | None]
    device: Device
    cuda_graph: bool
    seconds: float
    faces: int
    out: Path


def measure(plan: BenchPlan, say: Callable[[str], None]) -> Iterator[BenchRow]:
    """Measure everything; a row is given as soon as it is known. See ``run_bench``."""
    if not keep_freed_memory():
        say("note: the allocator could not be told to keep freed memory; PyTorch may be slower")
    with _converted_peers(plan, say) as peers:
        for threads in plan.threads:
            yield from _measure_on(threads, plan, peers, say)


@contextmanager
def _converted_peers(
    plan: BenchPlan, say: Callable[[str], None]
) -> Iterator[Callable[[Session, int], Sequence[Session]]]:
    """Give what opens the peers beside a reference on a number of threads."""
    if not plan.peers:
        yield lambda reference, threads: ()
        return
    from emonet_deploy.benchmarks.speed.other_runtimes import (
        convert_peers,
        open_peers,
        quantized,
    )

    model = load_checkpoint(plan.source.path)
    ((plain, _),) = obtain(["onnx"], ["fp32"], model.nclass, plan.source, plan.out, say)
    faces = None
    if quantized(plan.peers):
        faces = calibration_crops(None, plan.source.identity, CALIBRATION_FACES)
    say(f"converting for {', '.join(plan.peers)}")
    with convert_peers(plan.peers, model, plain, faces) as converted:
        yield partial(open_peers, converted)


def _measure_on(
    threads: int | None,
    plan: BenchPlan,
    open_peers: Callable[[Session, int], Sequence[Session]],
    say: Callable[[str], None],
) -> Iterator[BenchRow]:
    gpu = plan.device != "cpu" and cuda_device_count() > 0
    with ExitStack() as stack:
        reference = stack.enter_context(
            load_session(plan.source.path, device="cpu", threads=threads)
        )
        say(f"reference: PyTorch, {choose_layout(reference)}")

        def load(path: str | Path, engine: Backend) -> Session:
            if Path(path) == plan.source.path and not gpu:
                return reference
            graph = True if plan.cuda_graph else None
            session = load_session(path, engine, plan.device, threads, graph)
            return stack.enter_context(session)

        candidates = [
            Candidate(load(path, engine), None if engine == "v2" else Path(path))
            for path, engine in dict.fromkeys(plan.artifacts)
        ]
        if threads is not None:
            peers = open_peers(reference, threads)
            candidates += [Candidate(stack.enter_context(peer)) for peer in peers]
        yield from run_bench(
            Candidate(reference, plan.source.path), candidates, plan.batches,
            parity_crops(plan.faces), threads, plan.seconds, say,
        )  # fmt: skip


def write_files(
    rows: Sequence[BenchRow],
    environment: dict[str, Any],
    markdown_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Write the table as Markdown and the picture as SVG, each where it is asked for."""
    about = (
        f"{environment['cpu']}, {environment['cores']} cores, "
        f"{environment['date'][:10]}, toolkit {environment['toolkit']}"
    )
    texts = {
        markdown_file: as_markdown(bench_table(rows)) + f"\n\nMeasured in turns on {about}.\n",
        plot_file: plot(rows, f"EmoNet: speed and agreement ({about})"),
    }
    for path, text in texts.items():
        if path is not None:
            with atomic_write(path, InputError) as temporary:
                temporary.write_text(text, encoding="utf-8")
