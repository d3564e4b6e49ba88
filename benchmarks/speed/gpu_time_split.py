"""Where an engine's time goes: to the device, on it, and back."""

from statistics import median
from typing import Final

from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.backends.tensorrt.session import TensorRTSession
from emonet_deploy.runtime.backends.tensorrt.slot import DeviceTimes

__all__ = ["device_times"]

RUNS: Final = 100
WARM_RUNS: Final = 50
"""Back to back before any counts: a GPU that rested computes at a lower clock."""


def device_times(session: Session, images: Array) -> DeviceTimes | None:
    """Return the medians of several runs, measured by the device's own clock.

    Args:
        session: warm already; None is returned unless it runs an engine.
        images: one batch; of a batch over the engine's largest, the first part is measured.
    """
    if not isinstance(session, TensorRTSession):
        return None
    for _ in range(WARM_RUNS):
        session.run(images)
    runs = [session.measure(images[: session.max_batch]) for _ in range(RUNS)]
    return DeviceTimes(
        copy_in=median(run.copy_in for run in runs),
        compute=median(run.compute for run in runs),
        copy_out=median(run.copy_out for run in runs),
    )
