"""For the tests of the bench: a plan, and workers in this process that cost what they are told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from nuggets_ray.bench.plan import Contender, Plan, Running
from nuggets_ray.bench.task import Cost, Task, TaskRun
from nuggets_ray.bench.workload import Workload
from nuggets_ray.records import Encoding

TASK = Task("", "", "demo", None, False, "cpu", 1, None, ())


def make_work(name: str, num_prefixes: int = 5, num_anchors: int = 12) -> Workload:
    prefixes = tuple(np.arange(4) + n for n in range(num_prefixes))
    anchors = tuple(Encoding(np.arange(3 + n), np.arange(3 + n) > 1) for n in range(num_anchors))
    return Workload(name, prefixes, anchors)


def make_plan(cases: Mapping[str, list[Contender]], repeats: int = 5) -> Plan:
    works = {case: make_work(case) for case in cases}
    expected_s = {(case, c.name): 1.0 for case, some in cases.items() for c in some}
    return Plan(cases, works, "made up", repeats, 1, TASK, expected_s)


def log_probs(work: Workload, candidates: list[int]) -> np.ndarray:
    """What every right contender gives: of candidate and anchor, no two the same."""
    lengths = np.array([anchor.num_tokens for anchor in work.anchors])
    return -np.add.outer(0.1 * np.array(candidates), lengths)


@dataclass
class Machine:
    """Starts made-up workers and takes down what was asked of them, in order.

    `seconds`: CPU seconds of a contender's run; `change` is applied to its log-probs; `fails` is
    called before each of its runs.
    """

    plan: Plan
    seconds: Callable[[str, int], float] = lambda name, repeat: 1.0
    change: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    fails: Callable[[str, str], None] = lambda name, case: None
    runs: list[tuple[str, str, list[int]]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def start(self, task: Task, contender: Contender) -> Running:
        assert (task.kind, task.dtype) == (contender.kind, contender.dtype)
        self.fails(contender.name, "start")
        self.open.append(contender.name)
        works = {work["name"]: work for work in task.works}
        return Pretender(self, contender, set(works))

    @property
    def timed(self) -> list[tuple[str, str, list[int]]]:
        """Runs of whole cases: neither checks nor warm-ups."""
        return [run for run in self.runs if run[1] in self.plan.works]


@dataclass
class Pretender:
    machine: Machine
    contender: Contender
    works: set[str]

    def run(self, work: str, candidates: list[int]) -> TaskRun:
        assert work in self.works, "the worker was not given that work"
        name = self.contender.name
        self.machine.runs.append((name, work, candidates))
        self.machine.fails(name, work)
        of = self.machine.plan.works.get(work) or next(
            whole.sample(8) for whole in self.machine.plan.works.values() if whole.name in work
        )
        found = log_probs(of, candidates)
        found = self.machine.change.get(self.contender.kind, lambda same: same)(found)
        repeat = sum(run[:2] == (name, work) for run in self.machine.runs) - 1
        seconds = self.machine.seconds(name, repeat)
        return TaskRun(Cost(seconds, 2 * seconds, 1.5, 0.0), found, 8e9, {})

    def rate(self, work: str, candidates: list[int]) -> dict[str, float]:
        self.machine.runs.append((self.contender.name, f"rate of {work}", candidates))
        num = sum("rate" in run[1] for run in self.machine.runs)
        dense = {"dense": 20e9} if self.machine.plan.task.device == "cuda" else {}
        return {"mean": 10e9 * num, "in_turn": 5e9, **dense}

    def close(self) -> None:
        self.machine.open.remove(self.contender.name)
