"""Contenders side by side: each checked in float32 against the reference, then all of a case in
turn, repeat by repeat, a different candidate each repeat and the same for all.

Workers are processes of their own (process.py), started when their first case comes and ended after
their last.

Legend: C candidates, A anchors.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from nuggets_ray.bench.plan import BenchResults, Contender, Plan, Reading, Running, Start
from nuggets_ray.bench.process import WorkerFailed
from nuggets_ray.bench.task import NotMeasured, Task
from nuggets_ray.bench.workload import Workload

logger = logging.getLogger(__name__)

TOLERANCE_NATS = 1e-3
"""Largest difference of a contender's float32 log-probs from the reference's."""
NUM_CHECK_ANCHORS = 8


def measure(plan: Plan, start: Start, *, checked: bool) -> BenchResults:
    """Check the contenders (unless not `checked`) and time them. A KeyboardInterrupt ends it early:
    the results say so, and hold what there is."""
    results = BenchResults()
    try:
        if checked and plan.cases:
            _check_all(plan, start, results)
        _time_all(plan, start, results)
    except KeyboardInterrupt:
        results.interrupted = True
    return results


def invalid_reason(got_CA: np.ndarray, wanted_CA: np.ndarray) -> str | None:
    """Why float32 log-probs are not the reference's; None where they are."""
    if got_CA.shape != wanted_CA.shape:
        return f"invalid: {got_CA.shape} log-probs instead of {wanted_CA.shape}"
    difference = np.abs(got_CA - wanted_CA).max(initial=0.0)
    if difference <= TOLERANCE_NATS:  # NaN is not
        return None
    return f"invalid: off by {difference:.2g} nats in float32"


def _check_all(plan: Plan, start: Start, results: BenchResults) -> None:
    """One candidate and a few anchors, short and long, of each kind's first case."""
    first_case: dict[str, str] = {}
    for case, contenders in plan.cases.items():
        for contender in contenders:
            first_case.setdefault(contender.kind, case)
    samples = {case: plan.works[case].sample(NUM_CHECK_ANCHORS) for case in first_case.values()}
    logger.info("check: the reference in float32, %d anchors", NUM_CHECK_ANCHORS)
    twin = Contender("reference", "reference", "float32", "")
    reference = start(_task(plan, twin, samples.values()), twin)
    try:
        wanted = {
            case: reference.run(sample.name, [0]).log_probs_CA for case, sample in samples.items()
        }
    finally:
        reference.close()
    for kind, case in first_case.items():
        members = [contender for contender in plan.contenders if contender.kind == kind]
        logger.info("check: %s in float32", kind)
        exact = replace(members[0], dtype="float32")
        reason = _check(plan, start, exact, samples[case], wanted[case], results)
        for contender in members if reason else ():
            logger.warning("%s: %s", contender.name, reason)
            results.reasons[contender.name] = str(reason)


def _check(
    plan: Plan,
    start: Start,
    contender: Contender,
    sample: Workload,
    wanted_CA: np.ndarray,
    results: BenchResults,
) -> str | None:
    """Why the contender has no figures; None where it is right."""
    try:
        running = start(_task(plan, contender, [sample]), contender)
        try:
            got_CA = running.run(sample.name, [0]).log_probs_CA
        finally:
            running.close()
    except (NotMeasured, WorkerFailed) as error:
        return _describe_failure(error)
    if got_CA.shape == wanted_CA.shape:
        difference = float(np.abs(got_CA - wanted_CA).max(initial=0.0))
        results.differences[contender.kind] = difference
    return invalid_reason(got_CA, wanted_CA)


def _task(plan: Plan, contender: Contender, works: Iterable[Workload]) -> Task:
    return replace(
        plan.task,
        kind=contender.kind,
        dtype=contender.dtype,
        works=tuple(work.to_json() for work in works),
    )


def _describe_failure(error: NotMeasured | WorkerFailed) -> str:
    if isinstance(error, NotMeasured):
        return f"not measured: {error}"
    logger.warning("a contender failed: %s", error)
    lines = str(error).strip().splitlines()
    return f"failed: {lines[-1][:200] if lines else type(error).__name__}"


def _time_all(plan: Plan, start: Start, results: BenchResults) -> None:
    running: dict[str, Running] = {}
    clock = _Clock(plan)
    try:
        for case, contenders in plan.cases.items():
            for contender in contenders:
                if contender.name not in results.reasons:
                    _make_ready(plan, start, case, contender, running, results)
            for repeat in range(plan.repeats):
                turn = repeat % len(contenders)  # none is always the first after the same other
                for contender in (*contenders[turn:], *contenders[:turn]):
                    if contender.name in running:
                        _read_one(plan, case, contender, repeat, running, results)
                    clock.passed(case, contender, repeat, results)
            later = list(plan.cases)[list(plan.cases).index(case) + 1 :]
            needed = {contender.name for name in later for contender in plan.cases[name]}
            for name in set(running) - needed:
                running.pop(name).close()
    finally:
        for worker in running.values():
            worker.close()


def _make_ready(
    plan: Plan,
    start: Start,
    case: str,
    contender: Contender,
    running: dict[str, Running],
    results: BenchResults,
) -> None:
    """Load the contender unless it is, and let it warm up; where it cannot, note why.

    A GPU compiles for the very shapes of a case; on a CPU a few anchors do, once.
    """
    on_gpu = plan.task.device == "cuda"
    works = [plan.works[name] for name, some in plan.cases.items() if contender in some]
    sample = works[0].sample(NUM_CHECK_ANCHORS)
    try:
        is_new = contender.name not in running
        if is_new:
            running[contender.name] = start(_task(plan, contender, [*works, sample]), contender)
        if is_new or on_gpu:
            running[contender.name].run(case if on_gpu else sample.name, [0])
    except (NotMeasured, WorkerFailed) as error:
        _leave_out(contender, error, running, results)


def _leave_out(
    contender: Contender,
    error: NotMeasured | WorkerFailed,
    running: dict[str, Running],
    results: BenchResults,
) -> None:
    results.reasons[contender.name] = _describe_failure(error)
    if contender.name in running:
        running.pop(contender.name).close()


def _read_one(
    plan: Plan,
    case: str,
    contender: Contender,
    repeat: int,
    running: dict[str, Running],
    results: BenchResults,
) -> None:
    worker = running[contender.name]
    num = len(plan.works[case].prefixes)
    first = repeat * plan.candidates_a_run
    candidates = [(first + n) % num for n in range(plan.candidates_a_run)]
    try:
        before = worker.rate(case, candidates) if plan.with_rates else {}
        run = worker.run(case, candidates)
        after = worker.rate(case, candidates) if plan.with_rates else {}
    except (NotMeasured, WorkerFailed) as error:
        _leave_out(contender, error, running, results)
        return
    rates = {key: (before[key] + after[key]) / 2 for key in before}
    results.readings.append(Reading(case, contender.name, repeat, run, rates))


class _Clock:
    """Says after each run how far the bench is, and how long the rest takes if the guesses are off
    by as much as those of the runs so far."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.left_s = plan.repeats * sum(plan.expected_s.values())
        self.expected_s = 0.0
        self.taken_s = 0.0

    def passed(self, case: str, contender: Contender, repeat: int, results: BenchResults) -> None:
        expected_s = self.plan.expected_s[case, contender.name]
        self.left_s -= expected_s
        last = results.readings[-1] if results.readings else None
        this = (case, contender.name, repeat)
        if last is None or (last.case, last.contender, last.repeat) != this:
            return
        self.expected_s += expected_s
        self.taken_s += last.cost.wall_s
        logger.info(
            "%s %s, repeat %d of %d: %.1f CPU s, %.1f s; about %.0f min left",
            case, contender.name, repeat + 1, self.plan.repeats, last.cost.cpu_s, last.cost.wall_s,
            max(0.0, self.left_s) * self.taken_s / self.expected_s / 60,
        )  # fmt: skip
