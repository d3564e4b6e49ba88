"""One way to run EmoNet, what it took, and what a user may ask of it."""

from dataclasses import dataclass

from emonet_deploy.runtime.choices import (
    Backend,
    Device,
    Interface,
    Optimize,
    Precision,
    Target,
)

__all__ = ["Configuration", "Measured", "Wanted"]


@dataclass(frozen=True)
class Configuration:
    """One way to run EmoNet, which can be measured and chosen.

    Attributes:
        purpose: ``latency`` of one image, or ``throughput`` of many.
        backend: what runs the file.
        file: name of an artifact in the record's folder; empty for the checkpoint itself.
        sha256: of the file.
        precision: of the file.
        target: of the file.
        interface: of the file.
        device: where it runs: ``cpu`` or ``cuda``.
        threads: CPU threads of the session; None on a GPU.
        batch: images of a run.
        libraries: versions of the packages that run it; see ``library_versions``.
    """

    purpose: Optimize
    backend: Backend
    file: str
    sha256: str
    precision: Precision
    target: Target
    interface: Interface
    device: Device
    threads: int | None
    batch: int
    libraries: str

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {self.threads} threads"
        return f"{self.backend} on {self.file or 'the checkpoint'}{threads}, batch {self.batch}"


@dataclass(frozen=True)
class Measured:
    """A configuration and its time.

    Attributes:
        configuration: what was measured.
        p25_ms: of a run, with its whole batch, from crops to results: a quarter of the runs took
            no longer. Ways are compared by it, as a busy machine delays most runs, not these.
        p50_ms: median of the same.
        n: runs that were timed.
        final: whether it was timed in turns with the fastest to the end; others were far behind.
        date: of the run it was timed in, UTC; those of one run may be compared.
    """

    configuration: Configuration
    p25_ms: float
    p50_ms: float
    n: int
    final: bool
    date: str

    @property
    def cost(self) -> float:
        """Milliseconds an image, by which ways are compared."""
        return self.p25_ms / self.configuration.batch

    @property
    def images_per_second(self) -> float:
        """Images a second at the median."""
        return self.configuration.batch / self.p50_ms * 1e3


@dataclass(frozen=True)
class Wanted:
    """What a configuration must be to be considered; None for whatever it is.

    Attributes:
        precision: of the file.
        target: of the file.
        device: where it runs; ``auto`` is anywhere.
        threads: of the session.
    """

    precision: Precision | None = None
    target: Target | None = None
    device: Device = "auto"
    threads: int | None = None

    def allows(self, way: Configuration) -> bool:
        """Tell whether a configuration is what is wanted."""
        return (
            self.precision in {None, way.precision}
            and self.target in {None, way.target}
            and self.device in {"auto", way.device}
            and self.threads in {None, way.threads}
        )
