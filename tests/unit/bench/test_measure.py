"""Contenders take turns, wrong ones are found, and what goes wrong costs its own contender only."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_bench import Machine, make_plan

from nuggets_ray.bench.measure import invalid_reason, measure
from nuggets_ray.bench.plan import Contender
from nuggets_ray.bench.process import WorkerFailed
from nuggets_ray.bench.task import NotMeasured

TREE = Contender("tree", "tree", "bfloat16", "")
OTHER = Contender("other", "other", "bfloat16", "")
EXACT = Contender("other_float32", "other", "float32", "")


def test_contenders_alternate_on_the_same_candidate_of_each_repeat() -> None:
    machine = Machine(make_plan({"cut-50": [TREE, OTHER], "cut-200": [TREE]}, repeats=3))
    results = measure(machine.plan, machine.start, checked=True)
    assert machine.timed == [
        ("tree", "cut-50", [0]),
        ("other", "cut-50", [0]),
        ("other", "cut-50", [1]),
        ("tree", "cut-50", [1]),
        ("tree", "cut-50", [2]),
        ("other", "cut-50", [2]),
        *(("tree", "cut-200", [n]) for n in range(3)),
    ]
    assert [(r.contender, r.repeat) for r in results.readings[:3]] == [
        ("tree", 0), ("other", 0), ("other", 1),
    ]  # fmt: skip
    assert machine.open == [] and not results.interrupted and results.reasons == {}
    assert results.differences == {"tree": 0.0, "other": 0.0}


def test_a_worker_ends_with_its_last_case() -> None:
    machine = Machine(make_plan({"cut-50": [OTHER], "cut-200": [TREE]}, repeats=1))
    opened: dict[str, list[str]] = {}
    machine.fails = lambda name, case: opened.__setitem__(case, list(machine.open))
    measure(machine.plan, machine.start, checked=False)
    assert opened["cut-50"] == ["other"] and opened["cut-200"] == ["tree"]


def test_one_that_is_off_is_invalid_in_every_dtype_and_not_timed() -> None:
    machine = Machine(make_plan({"cut-50": [TREE, OTHER, EXACT]}))
    machine.change = {"other": lambda found: np.roll(found, 1, axis=1)}
    results = measure(machine.plan, machine.start, checked=True)
    assert results.reasons.keys() == {"other", "other_float32"}
    assert all(reason.startswith("invalid: off by") for reason in results.reasons.values())
    assert {run[0] for run in machine.timed} == {"tree"} and len(results.readings) == 5


@pytest.mark.parametrize(
    ("change", "is_invalid"), [(0.0, False), (9e-4, False), (2e-3, True), (np.nan, True)]
)
def test_the_tolerance_is_a_thousandth(change: float, is_invalid: bool) -> None:
    wanted_CA = np.full((1, 3), -2.0)
    got_CA = wanted_CA + np.array([0, change, 0])
    assert (invalid_reason(got_CA, wanted_CA) is not None) == is_invalid
    assert invalid_reason(wanted_CA[:, :2], wanted_CA) is not None


def test_one_that_is_not_there_is_left_out_with_the_way_to_it() -> None:
    machine = Machine(make_plan({"cut-50": [TREE, OTHER]}, repeats=2))

    def missing(name: str, case: str) -> None:
        if name == "other":
            raise NotMeasured("install it")

    machine.fails = missing
    results = measure(machine.plan, machine.start, checked=True)
    assert results.reasons == {"other": "not measured: install it"}
    assert len(results.readings) == 2 and machine.open == []


def test_one_that_fails_half_way_keeps_what_it_had_and_stops() -> None:
    machine = Machine(make_plan({"cut-50": [TREE, OTHER]}, repeats=4))

    def fail(name: str, case: str) -> None:
        if name == "other" and sum(run[0] == "other" for run in machine.timed) == 3:
            raise WorkerFailed("Traceback\nValueError: no memory")

    machine.fails = fail
    results = measure(machine.plan, machine.start, checked=False)
    assert results.reasons == {"other": "failed: ValueError: no memory"}
    count = {name: sum(r.contender == name for r in results.readings) for name in ("tree", "other")}
    assert count == {"tree": 4, "other": 2} and machine.open == []


def test_ctrl_c_keeps_what_was_measured_and_ends_the_workers() -> None:
    machine = Machine(make_plan({"cut-50": [TREE, OTHER]}))

    def interrupt(name: str, case: str) -> None:
        if len(machine.timed) == 4:
            raise KeyboardInterrupt

    machine.fails = interrupt
    results = measure(machine.plan, machine.start, checked=False)
    assert results.interrupted and len(results.readings) == 3 and machine.open == []


def test_rates_are_taken_before_and_after_each_run() -> None:
    plan = replace(make_plan({"cut-50": [TREE]}, repeats=1), with_rates=True)
    machine = Machine(plan)
    (reading,) = measure(plan, machine.start, checked=False).readings
    assert [run[1] for run in machine.runs[-3:]] == ["rate of cut-50", "cut-50", "rate of cut-50"]
    assert reading.rates == {"mean": 15e9, "in_turn": 5e9}


def test_on_a_gpu_each_case_warms_up_whole() -> None:
    plan = make_plan({"cut-50": [TREE], "cut-200": [TREE]}, repeats=1)
    machine = Machine(replace(plan, task=replace(plan.task, device="cuda")))
    measure(machine.plan, machine.start, checked=False)
    assert [run[1] for run in machine.runs] == ["cut-50", "cut-50", "cut-200", "cut-200"]
