"""CUDA on host memory behind pycuda's names, strict where the real one is silent or aborts.

Work put on a stream happens when the stream is synchronised and not before; memory that was freed
is filled with rubbish; whatever is released outside of its context, or not at all, is a leak.
"""

import threading
import weakref
from collections import Counter
from types import SimpleNamespace

import numpy as np


class Error(Exception):
    """`pycuda.driver.Error`."""


class Machine:
    """One pretended GPU: what is alive on it, what was called, and which call shall fail."""

    def __init__(self):
        self.alive = Counter()
        self.log = []  # calls and, with a tilde, the ends of objects
        self.calls = []  # the calls alone, each of which can be made to fail
        self.leaks = []
        self.fail_at = None
        self.memory = {}
        self.streams = {}
        self.clock = 0.0
        self._contexts = threading.local()
        self.driver = _driver(self)

    @property
    def stack(self):
        if not hasattr(self._contexts, "stack"):
            self._contexts.stack = []
        return self._contexts.stack

    def start(self, fail_at=None):
        """Begin a new log; let the call of that number fail, if any."""
        self.log, self.calls, self.fail_at = [], [], fail_at

    def call(self, name):
        """Log a call; True when it is the one that shall fail."""
        self.log.append(name)
        self.calls.append(name)
        return self.fail_at == len(self.calls) - 1

    def cuda_call(self, name, *, needs_context=True):
        failing = self.call(name)
        if needs_context and not self.stack:
            raise Error(f"{name} failed: no context is current in this thread")
        if failing:
            raise Error(f"{name} failed: injected")

    def born(self, kind):
        self.alive[kind] += 1

    def died(self, kind, *, released=True):
        self.alive[kind] -= 1
        self.log.append(f"~{kind}")
        if not released:
            self.leaks.append(f"{kind} was never freed")
        elif not self.stack:
            self.leaks.append(f"{kind} was released outside of its context")

    def run(self, work, running):
        """Do a stream's work; two threads at once on one stream's buffers would be a race."""
        if not running.acquire(blocking=False):
            raise AssertionError("two threads use a stream's buffers at once")
        try:
            while work:
                work.pop(0)()
                self.clock += 1.0
        finally:
            running.release()

    def at(self, address, size):
        """Return device memory as a view; only what was allocated can be reached."""
        start = max((base for base in self.memory if base <= address), default=None)
        assert start is not None, "an address that was never allocated"
        block = self.memory[start]
        assert address - start + size <= block.nbytes, "outside of what was allocated"
        return block[address - start : address - start + size]


def _driver(machine):
    class Context:
        def push(self):
            machine.cuda_call("Context.push", needs_context=False)
            machine.stack.append(self)

        @staticmethod
        def pop():
            machine.log.append("Context.pop")
            machine.stack.pop()

        def detach(self):
            machine.log.append("Context.detach")

    class Device:
        def __init__(self, ordinal):
            machine.cuda_call("Device", needs_context=False)
            assert ordinal == 0

        def retain_primary_context(self):
            machine.cuda_call("Device.retain_primary_context", needs_context=False)
            return Context()

    class Stream:
        def __init__(self, flags=0):
            # A blocking stream that is captured breaks whoever uses the legacy stream meanwhile.
            assert flags == 1, "the stream must be CU_STREAM_NON_BLOCKING"
            machine.cuda_call("Stream")
            self._running = threading.Lock()
            self.handle = 1000 + len(machine.log)
            self._work = machine.streams[self.handle] = []
            machine.born("Stream")

        def synchronize(self):
            # A failing run fails here, and the work is over all the same.
            work, running = self._work, self._running
            del self  # the real one is C++ and has no frame that a traceback could keep alive
            try:
                machine.run(work, running)
            finally:
                work.clear()
            machine.cuda_call("Stream.synchronize")

        def __del__(self):
            if hasattr(self, "_work"):
                assert not self._work, "a stream was released with work on it"
                del machine.streams[self.handle]
                machine.died("Stream")

    class Event:
        def __init__(self, flags=0):
            machine.cuda_call("Event")
            self._time = None
            machine.born("Event")

        def record(self, stream=None):
            failing, event = machine.call("Event.record"), weakref.proxy(self)
            work = machine.streams[stream.handle]
            del self, stream  # as in Stream.synchronize
            if failing:
                raise Error("Event.record failed: injected")
            work.append(lambda: setattr(event, "_time", machine.clock))

        def time_till(self, other):
            failing, elapsed = machine.call("Event.time_till"), other._time - self._time
            del self, other
            if failing:
                raise Error("Event.time_till failed: injected")
            return elapsed

        def __del__(self):
            if hasattr(self, "_time"):
                machine.died("Event")

    class DeviceAllocation:
        def __init__(self, size):
            machine.cuda_call("mem_alloc")
            self._address = 1 << 32 | len(machine.log) << 33
            machine.memory[self._address] = np.full(size, 0xCD, np.uint8)
            self._valid = True
            machine.born("DeviceAllocation")

        def __int__(self):
            return self._address

        __index__ = __int__

        def free(self):
            assert self._valid
            self._valid = False
            machine.memory.pop(self._address).fill(0xDD)
            machine.died("DeviceAllocation")
            machine.cuda_call("DeviceAllocation.free")

        def __del__(self):
            if getattr(self, "_valid", False):
                machine.died("DeviceAllocation", released=False)

    class PagelockedHostAllocation:
        def __init__(self, shape, dtype):
            machine.cuda_call("pagelocked_empty")
            self._array = np.full(shape, 0xCD, dtype)
            self.__array_interface__ = self._array.__array_interface__
            self._valid = True
            machine.born("PagelockedHostAllocation")

        def free(self):
            assert self._valid
            self._valid = False
            self._array.view(np.uint8).fill(0xDD)
            machine.died("PagelockedHostAllocation")
            machine.cuda_call("PagelockedHostAllocation.free")

        def __del__(self):
            if getattr(self, "_valid", False):
                machine.died("PagelockedHostAllocation", released=False)

    def owner(array):
        while isinstance(array, np.ndarray):
            array = array.base
        return array

    def usable(array):
        assert array.flags.c_contiguous
        assert isinstance(owner(array), PagelockedHostAllocation), "pageable memory"
        assert owner(array)._valid, "host memory that was freed"
        return array.reshape(-1).view(np.uint8)

    def memcpy_htod_async(dest, src, stream=None):
        work = machine.streams[stream.handle]
        del stream  # as in Stream.synchronize
        machine.cuda_call("memcpy_htod_async")
        host = usable(src)

        def copy():
            machine.at(int(dest), host.nbytes)[:] = usable(src)

        work.append(copy)

    def memcpy_dtoh_async(dest, src, stream=None):
        work = machine.streams[stream.handle]
        del stream
        machine.cuda_call("memcpy_dtoh_async")
        host = usable(dest)

        def copy():
            usable(dest)[:] = machine.at(int(src), host.nbytes)

        work.append(copy)

    def memcpy_dtod_async(dest, src, size, stream=None):
        work = machine.streams[stream.handle]
        del stream
        machine.cuda_call("memcpy_dtod_async")

        def copy():
            machine.at(int(dest), size)[:] = machine.at(int(src), size)

        work.append(copy)

    def init(flags=0):
        machine.cuda_call("init", needs_context=False)

    return SimpleNamespace(
        Error=Error,
        init=init,
        Device=Device,
        Context=Context,
        Stream=Stream,
        Event=Event,
        DeviceAllocation=DeviceAllocation,
        PagelockedHostAllocation=PagelockedHostAllocation,
        mem_alloc=DeviceAllocation,
        pagelocked_empty=lambda shape, dtype: np.asarray(PagelockedHostAllocation(shape, dtype)),
        memcpy_htod_async=memcpy_htod_async,
        memcpy_dtoh_async=memcpy_dtoh_async,
        memcpy_dtod_async=memcpy_dtod_async,
    )
