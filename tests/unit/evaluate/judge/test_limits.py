"""The budget holds whatever is under way, and requests are spread over a minute."""

import threading

import pytest

from nuggets_ray.evaluate.judge.limits import Budget, BudgetSpentError, RateLimit


def test_requests_are_counted_over_runs() -> None:
    budget = Budget(max_requests=5, max_tokens=None, num_requests=3, num_tokens=10**9)
    for _ in range(2):
        budget.take(10)
        budget.settle(10, 1, 7)
    with pytest.raises(BudgetSpentError) as caught:
        budget.take(10)
    assert caught.value.key == "judge.budget_requests"


def test_a_refused_request_costs_nothing() -> None:
    budget = Budget(1, None, 0, 0)
    for _ in range(3):
        budget.take(10)
        budget.settle(10, 0, 0)
    budget.take(10)
    budget.settle(10, 1, 7)
    with pytest.raises(BudgetSpentError):
        budget.take(10)


def test_tokens_are_counted_as_used_and_planned_as_the_most() -> None:
    budget = Budget(None, max_tokens=100, num_requests=0, num_tokens=40)
    with pytest.raises(BudgetSpentError) as caught:
        budget.take(61)
    assert caught.value.key == "judge.budget_tokens"
    budget.take(60)
    budget.settle(60, 1, 5)
    budget.take(55)
    budget.settle(55, 1, 55)
    with pytest.raises(BudgetSpentError):
        budget.take(1)


def test_without_limits_everything_fits() -> None:
    budget = Budget(None, None, 10**6, 10**12)
    taken = [budget.take(10**9) for _ in range(3)]
    assert len(taken) == 3
    for _ in taken:
        budget.settle(10**9, 1, 10**9)
    budget.wait_for_all()


@pytest.mark.parametrize("cost, fits", [(0, True), (1, False)])
def test_a_request_waits_for_what_is_under_way(cost: int, fits: bool) -> None:
    budget = Budget(1, None, 0, 0)
    budget.take(10)
    outcome: list[bool] = []

    def second() -> None:
        try:
            budget.take(10)
            outcome.append(True)
        except BudgetSpentError:
            outcome.append(False)

    thread = threading.Thread(target=second)
    thread.start()
    assert outcome == []
    budget.settle(10, cost, 0)
    thread.join()
    assert outcome == [fits]


def test_requests_are_spread_over_a_minute() -> None:
    now = [100.0]
    rate = RateLimit(30, clock=lambda: now[0])
    assert [rate.delay_s() for _ in range(4)] == [0.0, 2.0, 4.0, 6.0]
    now[0] = 107.0
    assert rate.delay_s() == 1.0
    now[0] = 200.0
    assert [rate.delay_s() for _ in range(2)] == [0.0, 2.0]


def test_without_a_rate_nothing_waits() -> None:
    rate = RateLimit(None, clock=lambda: 5.0)
    assert [rate.delay_s() for _ in range(3)] == [0.0, 0.0, 0.0]
