"""Which artifacts ``emonet tune`` may choose, and which it makes: those that are exact enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from emonet_deploy.emonet_ref.storage.path_access import is_file
from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.choices import Interface, Precision, Target
from emonet_deploy.runtime.metadata import ModelInfo, artifact_name, read_info
from emonet_deploy.runtime.precision_specs import PRECISIONS

__all__ = ["Floor", "find_artifacts", "models"]


@dataclass(frozen=True)
class Floor:
    """How exact an artifact must be.

    Attributes:
        precision: the fewest bits of a weight are those of this one.
        min_ccc: lowest concordance with the reference, of valence and of arousal, as recorded when
            the artifact was judged; None for whatever its precision's gates ask for.
    """

    precision: Precision = "fp32"
    min_ccc: float | None = None

    @property
    def precisions(self) -> list[Precision]:
        """The precisions that may be chosen, the most exact first."""
        least = PRECISIONS[self.precision].bits
        return [name for name, spec in PRECISIONS.items() if spec.bits >= least]

    def refuses(self, info: ModelInfo) -> str:
        """Return why an artifact may not be chosen; empty if it may."""
        if info.precision not in self.precisions:
            return f"it is {info.precision}, below {self.precision}"
        judged = info.parity
        if judged is None:
            return "it was never judged against its reference; export it again"
        if judged.get("passed") is not True:
            return "a gate failed when it was made"
        # Float32 has no such gate: its own, on the largest error, is far stricter.
        if self.min_ccc is None or info.precision == "fp32":
            return ""
        gates = judged.get("gates", {})
        for name in ("ccc_valence", "ccc_arousal"):
            value = gates.get(name, {}).get("value")
            if not (isinstance(value, float | int) and value >= self.min_ccc):
                return f"its {name} is {value}, below {self.min_ccc:g}"
        return ""


def models(
    precisions: Sequence[Precision], on_gpu: bool, everything: bool
) -> list[tuple[Precision, Target]]:
    """Return which ONNX models are made when they are missing.

    Args:
        precisions: that may be chosen.
        on_gpu: whether they run on a GPU, where models for CPUs are not wanted.
        everything: also those that take minutes; else float32 alone.
    """
    wanted: list[Target] = ["gpu"] if on_gpu else ["gpu", "cpu"]
    return [
        (precision, target)
        for precision in precisions
        for target in wanted
        if target in PRECISIONS[precision].gates and (everything or precision == "fp32")
        if on_gpu or precision != "fp16"  # which processors compute in float32
    ]


def find_artifacts(
    out: Path, nclass: int, identity: str, floor: Floor, say: Callable[[str], None]
) -> list[Path]:
    """Return the artifacts of a checkpoint in a folder that are exact enough.

    Args:
        out: the folder.
        nclass: of the checkpoint.
        identity: of the checkpoint.
        floor: how exact they must be.
        say: told which are left out, and why.
    """
    names = [
        artifact_name(nclass, precision, target, interface)
        for precision in floor.precisions
        for target in get_args(Target)
        for interface in get_args(Interface)
    ]
    paths = [out / name for name in names if is_file(out / name)]
    paths += sorted(out.glob(f"emonet_{nclass}.*.plan"))
    found = []
    for path in paths:
        try:
            info = read_info(path)
        except ArtifactError as error:
            say(f"left out: {error.message}")
            continue
        other = f"it is of {info.checkpoint}" if info.checkpoint != identity else ""
        if problem := other or floor.refuses(info):
            say(f"left out: {path.name}: {problem}")
        else:
            found.append(path)
    return found
