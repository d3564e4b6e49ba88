"""What runs here and what is missing, backend by backend, with the commands that bring the rest."""

from dataclasses import dataclass

from emonet_deploy.runtime.backends.registry import BACKENDS, Purpose
from emonet_deploy.runtime.types import Backend

__all__ = ["Examination", "examine"]


@dataclass(frozen=True)
class Examination:
    """What a backend has and lacks for a purpose on this machine."""

    backend: Backend
    purpose: Purpose
    has: tuple[str, ...]
    missing: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether all that is needed is here."""
        return not self.missing


def examine() -> list[Examination]:
    """Examine every backend: what runs here, what can be built here, and what is missing."""
    running = [_examine(backend, "run") for backend in BACKENDS]
    return running + [_examine(name, "build") for name, spec in BACKENDS.items() if spec.build]


def _examine(backend: Backend, purpose: Purpose) -> Examination:
    found = [requirement.find() for requirement in BACKENDS[backend].requirements(purpose)]
    absent = [item for item in found if item.version is None]
    return Examination(
        backend,
        purpose,
        has=tuple(str(item) for item in found if item.version),
        missing=tuple(str(item) for item in absent if not item.optional),
        optional=tuple(str(item) for item in absent if item.optional),
    )
