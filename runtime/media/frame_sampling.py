"""Which frames of a clip or camera are looked at."""

__all__ = ["Pace"]

_EARLY = 0.002  # Seconds; time stamps are rounded to milliseconds.


class Pace:
    """Every so-many-th frame, and no more than so many of a second."""

    def __init__(self, every: int = 1, max_fps: float | None = None) -> None:
        """Take both limits; None for none."""
        self._every, self._max_fps = every, max_fps
        self._due = 0.0

    def wants(self, index: int, time: float) -> bool:
        """Return whether a frame is looked at; call it for each once, in order."""
        if index % self._every:
            return False
        if self._max_fps is None:
            return True
        if time < self._due - _EARLY:
            return False
        # From the last due time on, so that the mean rate is kept; after a pause, from now on.
        period = 1 / self._max_fps
        self._due = (self._due if time - self._due < period else time) + period
        return True

    def rate(self, fps: float) -> float:
        """Return how many frames of a second are looked at, of a clip with ``fps``."""
        return min(fps / self._every, self._max_fps or fps)
