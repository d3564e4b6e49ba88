import threading
import time

import pytest

from emonet_deploy.runtime.pipeline.prefetch import prefetch


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_items_are_finished_than_may_wait(ahead):
    """Beside those that wait one may have been taken, and one is in the thread's hands."""
    made = []
    waits = threading.Event()

    def source():
        for item in range(100):
            made.append(item)
            if len(made) == ahead + 2:
                waits.set()
            yield item

    items = prefetch(source(), ahead)
    assert next(items) == 0
    assert waits.wait(20)
    time.sleep(0.05)  # it would go on now
    assert len(made) == ahead + 2
    assert list(items) == list(range(1, 100))


def test_waiting_takes_no_processor():
    spent = []

    def source():
        for item in range(4):
            before = time.thread_time()
            yield item
            spent.append(time.thread_time() - before)

    items = prefetch(source(), 1)
    next(items)
    time.sleep(0.25)
    assert list(items) == [1, 2, 3]
    assert max(spent) < 0.1  # of the thread's own time, not of the clock


def test_an_error_comes_after_the_items_before_it_and_the_source_is_closed():
    closed = []

    def source():
        try:
            yield 1
            yield 2
            raise KeyError("broken")
        finally:
            closed.append(threading.current_thread().name)

    items = prefetch(source(), 4)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="broken"):
        next(items)
    assert closed == ["emonet-prefetch"]


def test_who_stops_early_waits_for_the_thread():
    closed = threading.Event()

    def source():
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    items = prefetch(source(), 2)
    assert next(items) == 0
    items.close()
    assert closed.is_set()


def test_what_is_no_generator_is_read_too():
    assert list(prefetch([1, 2, 3])) == [1, 2, 3]
    assert list(prefetch(())) == []
