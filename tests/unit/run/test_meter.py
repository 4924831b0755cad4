"""Rates over computing time: start-up is not in them, and a stop shows."""

import pytest

from nuggets_ray.run.meter import WINDOW_S, Meter, eta_text


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_start_up_does_not_count() -> None:
    clock = Clock()
    meter = Meter("candidates", 100, 20, clock)
    meter.count(0, is_computing=False)
    clock.now_s += 500  # Ray starts, the model loads
    meter.count(0, is_computing=True)
    assert meter.work().rate is None and meter.work().eta_s is None
    clock.now_s += 10
    meter.count(20)
    work = meter.work()
    assert (work.num_done, work.num_reused, work.rate, work.rate_now) == (40, 20, 2.0, 2.0)
    assert work.eta_s == 30.0 and meter.computing_s == 10.0


def test_time_without_anyone_at_work_does_not_count() -> None:
    clock = Clock()
    meter = Meter("candidates", 100, 0, clock)
    meter.count(0)
    clock.now_s += 10
    meter.count(10, is_computing=False)  # all workers are lost
    clock.now_s += 90
    meter.count(0)
    assert meter.work().rate == 1.0


def test_the_rate_now_is_of_the_last_minutes_and_the_estimate_goes_with_it() -> None:
    clock = Clock()
    meter = Meter("candidates", 10_000, 0, clock)
    meter.count(0)
    for rate in [4] * 300 + [1] * 300:
        clock.now_s += 1
        meter.count(rate)
    work = meter.work()
    assert work.rate == 2.5 and work.rate_now == pytest.approx(1.0, abs=0.05)
    assert work.eta_s == pytest.approx((10_000 - 1500) / 1.0, rel=0.05)
    clock.now_s += 4 * WINDOW_S
    meter.count(0)  # nothing comes any more
    stalled = meter.work()
    assert stalled.rate_now is not None and stalled.rate_now < 0.3


def test_what_came_before_anyone_was_known_to_compute_is_in_no_rate() -> None:
    clock = Clock()
    meter = Meter("answers", 100, 0, clock)
    meter.count(0, is_computing=False)
    clock.now_s += 60  # the model loads, and the first block is answered
    meter.count(8, is_computing=True)
    clock.now_s += 4
    meter.count(8)
    work = meter.work()
    assert (work.num_done, work.rate, work.rate_now, work.eta_s) == (16, 2.0, 2.0, 42.0)


def test_what_comes_twice_is_not_done_twice() -> None:
    meter = Meter("candidates", 3, 1)
    meter.count(4)
    assert (meter.work().num_done, meter.num_computed) == (3, 4)


def test_an_estimate() -> None:
    assert eta_text(None) == "unknown"
    assert eta_text(70.4) == "1 min 10 s"
