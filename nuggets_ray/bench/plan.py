"""What the bench is to measure and what it has measured: contenders, cases, readings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from nuggets_ray.bench.task import Cost, Task, TaskRun
from nuggets_ray.bench.workload import Workload


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to compute log-probs, in a dtype; `made_fast` says what was done for its speed, and
    `python` whose interpreter runs it (None: this one)."""

    name: str
    kind: str
    dtype: str
    made_fast: str
    python: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One contender's run of one case; `rates` (FLOP/s of the matrices alone, around the run)
    where they were asked for."""

    case: str
    contender: str
    repeat: int
    run: TaskRun
    rates: Mapping[str, float]

    @property
    def cost(self) -> Cost:
        return self.run.cost


@dataclass(slots=True)
class BenchResults:
    """What was measured so far.

    `differences`: contender kind -> largest difference from the reference in float32, in nats;
    `reasons`: contender -> why it has no figures.
    """

    readings: list[Reading] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


class Running(Protocol):
    """Of process.WorkerProcess, what is used here."""

    def run(self, work: str, candidates: list[int]) -> TaskRun: ...

    def rate(self, work: str, candidates: list[int]) -> dict[str, float]: ...

    def close(self) -> None: ...


Start = Callable[[Task, Contender], Running]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which contenders run which cases, how often, and with how many candidates a run.

    `note` says where the examples are from; `expected_s` of a run by (case, contender) is a guess,
    for the time left; `with_rates`: time the matrices alone around each run.
    """

    cases: Mapping[str, Sequence[Contender]]
    works: Mapping[str, Workload]
    note: str
    repeats: int
    candidates_a_run: int
    task: Task
    expected_s: Mapping[tuple[str, str], float]
    with_rates: bool = False

    @property
    def contenders(self) -> list[Contender]:
        """All of them, once, in order of their first case."""
        return list({c.name: c for names in self.cases.values() for c in names}.values())
