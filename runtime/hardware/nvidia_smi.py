"""What NVIDIA's own tool says of the first GPU: clocks, limits, link; figures depend on them."""

import os
import shutil
import subprocess
from typing import Final

__all__ = ["GPU_FIELDS", "describe_gpu", "highest_sm_clock", "sm_clock"]

GPU_FIELDS: Final = (
    "name", "compute_cap", "driver_version", "clocks.sm", "clocks.max.sm", "power.limit",
    "power.max_limit", "pcie.link.gen.current", "pcie.link.gen.max", "pcie.link.width.current",
    "ecc.mode.current", "mig.mode.current",
)  # fmt: skip

_PATIENCE: Final = 20  # seconds; a driver that hangs must not hang a measurement


def describe_gpu() -> dict[str, str] | None:
    """Return ``GPU_FIELDS`` of the first GPU as nvidia-smi words them; None without the tool."""
    return _ask(GPU_FIELDS)


def sm_clock() -> int | None:
    """Return the clock of the first GPU's processors now, in MHz; None when it cannot be told."""
    return _megahertz("clocks.sm")


def highest_sm_clock() -> int | None:
    """Return the highest clock of the first GPU's processors, in MHz; likewise."""
    return _megahertz("clocks.max.sm")


def _megahertz(field: str) -> int | None:
    found = (_ask((field,)) or {}).get(field, "").partition(" ")[0]
    return int(found) if found.isdecimal() else None


def _ask(fields: tuple[str, ...]) -> dict[str, str] | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    # CUDA counts the visible devices, nvidia-smi all.
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip() or "0"
    command = [tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader", f"--id={first}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    values = [value.strip() for value in (done.stdout.splitlines() or [""])[0].split(",")]
    if len(values) != len(fields):
        return None
    return dict(zip(fields, values, strict=True))
