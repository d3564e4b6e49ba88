"""What a measured time holds for: this machine, and the versions of the libraries that ran."""

from dataclasses import dataclass
from typing import Self

from emonet_deploy.runtime.backends.registry import BACKENDS
from emonet_deploy.runtime.choices import Backend
from emonet_deploy.runtime.hardware.cpu import (
    convolution_instructions,
    processor,
    usable_processors,
)
from emonet_deploy.runtime.hardware.gpu import cuda_device
from emonet_deploy.runtime.requirements import OneOf, Package

__all__ = ["Machine", "library_versions"]


@dataclass(frozen=True)
class Machine:
    """What decides how fast a model runs, apart from its file and its library.

    Attributes:
        cpu: the processor's model.
        instructions: those of its instruction sets that convolutions use, sorted.
        processors: how many of them this process may use, within its quota.
        gpu: the first NVIDIA GPU's name and the CUDA its driver runs; None without one.
    """

    cpu: str
    instructions: tuple[str, ...]
    processors: int
    gpu: str | None

    @classmethod
    def here(cls) -> Self:
        """Return this machine."""
        model, flags = processor()
        gpu = cuda_device()
        return cls(
            model,
            tuple(sorted(convolution_instructions(flags))),
            usable_processors(),
            None if gpu is None else f"{gpu.name}, CUDA {gpu.driver}",
        )

    def differs(self, other: "Machine") -> str:
        """Return in which way another machine is not this one; empty if it is the same."""
        if (self.cpu, self.instructions) != (other.cpu, other.instructions):
            return f"of another processor ({other.cpu})"
        if self.processors != other.processors:
            return f"of {other.processors} usable processors, and there are {self.processors}"
        if self.gpu != other.gpu:
            return f"of another GPU or driver ({other.gpu or 'none'})"
        return ""


def library_versions(backend: Backend) -> str:
    """Return name and version of each package that a backend runs with, as installed here.

    Example:
        >>> library_versions("torch").split()[0]
        'torch'
    """
    packages: list[Package] = []
    for need in BACKENDS[backend].run:
        if isinstance(need, Package):
            packages.append(need)
        elif isinstance(need, OneOf):
            packages += need.packages
    found = [package.installed() for package in packages]
    return ", ".join(f"{name} {version}" for name, version in found if version)
