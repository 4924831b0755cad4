"""The loop that watches a run, without Ray: results, errors, Ctrl-C, a folder that vanishes."""

import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from nuggets_ray.run import watch as module
from nuggets_ray.run.watch import Producer, Ready, watch

WAIT_S = 30.0


@pytest.fixture
def run() -> Any:
    return SimpleNamespace(
        out_dir="/the/run", lost=threading.Event(), interrupted=threading.Event()
    )


class Waits:
    """A `wait` that gives these, one after the other; and what was seen, in order."""

    def __init__(self, *given: Ready[str]) -> None:
        self._given = iter(given)
        self.seen: list[str] = []

    def __call__(self, timeout_s: float) -> Ready[str]:
        assert timeout_s == module.POLL_S
        return next(self._given)

    def tick(self) -> None:
        self.seen.append("tick")

    def watched(self, run: Any) -> list[str]:
        for result in watch(run, self, self.tick):
            self.seen.append(result)
        return self.seen


def test_every_result_and_a_tick_a_wait(run: Any) -> None:
    waits = Waits((), ("a", "b"), (), ("c",), None)
    assert waits.watched(run) == ["tick", "a", "b", "tick", "tick", "c", "tick"]


def test_an_error_is_raised_where_it_comes(run: Any) -> None:
    waits = Waits(("a",), RuntimeError("a worker failed"))
    with pytest.raises(RuntimeError, match="a worker failed"):
        waits.watched(run)
    assert waits.seen == ["a", "tick"]


@pytest.mark.parametrize("given", [(), ("late",), None, RuntimeError("of its making")])
def test_a_folder_that_vanishes_comes_first(run: Any, given: Ready[str]) -> None:
    run.lost.set()
    run.interrupted.set()
    waits = Waits(given)
    with pytest.raises(FileNotFoundError, match="/the/run"):
        waits.watched(run)
    assert waits.seen == []


@pytest.mark.parametrize("given", [(), ("late",), None, RuntimeError("of its making")])
def test_an_interrupt_comes_before_what_it_leads_to(run: Any, given: Ready[str]) -> None:
    run.interrupted.set()
    waits = Waits(given)
    with pytest.raises(KeyboardInterrupt):
        waits.watched(run)
    assert waits.seen == []


def test_an_interrupt_among_results_is_seen_after_them(run: Any) -> None:
    waits = Waits(("a", "b"), ("c",))
    seen = []
    with pytest.raises(KeyboardInterrupt):
        for result in watch(run, waits, waits.tick):
            seen.append(result)
            run.interrupted.set()
    assert seen == ["a", "b"]


def test_a_producer_works_in_a_thread_of_its_own(run: Any) -> None:
    threads = []

    def results() -> Iterator[int]:
        threads.append(threading.current_thread())
        yield from range(3)

    producer = Producer(results(), name="counting")
    assert producer.wait(0.01) == ()
    producer.start()
    assert list(watch(run, producer.wait, lambda: None)) == [0, 1, 2]
    assert threads == [producer] and producer.name == "counting" and producer.daemon
    producer.join(WAIT_S)
    assert not producer.is_alive()


def test_what_ends_a_producer_is_raised_by_who_watches(run: Any) -> None:
    def results() -> Iterator[int]:
        yield 7
        raise ValueError("in the thread")

    producer = Producer(results(), name="failing")
    producer.start()
    watched = watch(run, producer.wait, lambda: None)
    assert next(watched) == 7
    with pytest.raises(ValueError, match="in the thread"):
        next(watched)


def test_a_producer_that_says_nothing_keeps_no_one_asleep(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.01)
    wakes = threading.Event()
    num_ticks = 0

    def silent() -> Iterator[int]:
        wakes.wait(WAIT_S)
        yield 1

    def tick() -> None:
        nonlocal num_ticks
        num_ticks += 1
        if num_ticks == 3:
            run.interrupted.set()

    producer = Producer(silent(), name="silent")
    producer.start()
    results: Sequence[int] = ()
    with pytest.raises(KeyboardInterrupt):
        results = list(watch(run, producer.wait, tick))
    wakes.set()
    assert (results, num_ticks) == ((), 3)
