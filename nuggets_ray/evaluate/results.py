"""evaluation/results.json: one schema for every benchmark, kept over all evaluations of a run.

{schema_version: 1, primary: "likelihood/mean_logprob", pins: {...}, results: [Result, ...],
verdict: {...}}
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.errors import UserError
from nuggets_ray.run.layout import RunFolder

SCHEMA_VERSION = 1
ALL = "all"
"""The subset that is the whole benchmark."""
PINNED = {
    "data": "rows or files",
    "judge": "judge",
    "prompt_version": "prompt version",
    "generation": "generation settings",
    "seed": "seed",
}
"""Fields of a result that say what it rests on, in words."""


@dataclass(frozen=True, slots=True)
class Result:
    """One number. `low` and `high` bound it with 95% confidence (None: no interval is known).

    `against` names the other model (or answers file) of a paired metric; `subset` a category, or a
    range of lengths; `judge` and `prompt_version` who judged with what; `generation` how answers
    were written; `data` {name: sha256} of the files that were read, and under `rows` of the rows or
    prompts that were used; `details` counts that belong to the value. `name` is evaluate.name,
    `limit` evaluate.limit.
    """

    model: str
    benchmark: str
    metric: str
    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    subset: str = ALL
    against: str | None = None
    judge: str | None = None
    prompt_version: str | None = None
    generation: Mapping[str, Any] | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    limit: int | None = None
    seed: int | None = None

    @property
    def pins(self) -> dict[str, Any]:
        """What the value rests on beside the model: two of unlike pins are not comparable."""
        pins = {name: getattr(self, name) for name in PINNED}
        return dict(json.loads(json.dumps(pins)))

    @property
    def key(self) -> tuple[Any, ...]:
        """Later results with the same key take the place of this one, whatever its subset: the
        subsets may be others by then.
        """
        named = (self.model, self.benchmark, self.metric, self.against, self.name)
        return (*named, self.judge, self.prompt_version)

    @property
    def label(self) -> str:
        """MODEL/BENCHMARK/METRIC, and what else tells it from others."""
        subset = "" if self.subset == ALL else self.subset
        against = f"against {self.against}" if self.against else ""
        named = (self.model, self.benchmark, self.metric, subset, against)
        parts = (*named, self.name or "", self.judge or "")
        return "/".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Results:
    """What results.json holds. `primary` is BENCHMARK/METRIC, named before the first evaluation,
    `pins` the rows, judge and seed of its first one (None: none yet, or of an earlier version).
    """

    primary: str
    results: tuple[Result, ...] = ()
    verdict: Mapping[str, Any] | None = None
    pins: Mapping[str, Any] | None = None

    def is_primary(self, result: Result) -> bool:
        """Is it the metric that was named primary, as pinned, over the whole benchmark?"""
        return self._is_of_primary(result) and self.pins in (None, result.pins)

    def pinned(self, new: Iterable[Result]) -> "Results":
        """With the pins of the primary metric among `new`, where there are none yet."""
        first = next((result for result in new if self._is_of_primary(result)), None)
        if first is None or self.pins is not None:
            return self
        return replace(self, pins=first.pins)

    def unlike_pins(self, new: Iterable[Result]) -> list[str]:
        """In which of its pins the primary metric among `new` is not the pinned one."""
        pins = self.pins or {}
        unlike = {
            name: None
            for result in new
            if self._is_of_primary(result)
            for name in pins
            if pins[name] != result.pins.get(name)
        }
        return [PINNED[name] for name in unlike if name in PINNED]

    def _is_of_primary(self, result: Result) -> bool:
        return f"{result.benchmark}/{result.metric}" == self.primary and result.subset == ALL

    def merged(self, new: Iterable[Result]) -> "Results":
        """With `new` in the place of results of the same key, behind the others."""
        new = tuple(new)
        keys = {result.key for result in new}
        kept = tuple(result for result in self.results if result.key not in keys)
        return replace(self, results=(*kept, *new))


def open_results(out_dir: str, primary: str) -> Results:
    """The results so far, or none. Raises UserError where another metric was named primary."""
    if not io.exists(RunFolder(out_dir).evaluation.results):
        return Results(primary)
    results = read_results(out_dir)
    if results.primary != primary:
        raise UserError(
            f"evaluate.primary={primary}: {results.primary} was named before the first evaluation "
            f"of out_dir={out_dir}, and a metric named after the fact decides nothing: leave it"
        )
    return results


def read_results(out_dir: str) -> Results:
    """What was written. Raises UserError where there is nothing, or of another version."""
    path = RunFolder(out_dir).evaluation.results
    if not io.exists(path):
        raise UserError(
            f"{path} is not there: run {job_command('evaluate')} with out_dir={out_dir} first"
        )
    content = io.read_json(path)
    if content.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema_version {content.get('schema_version')}, this is {SCHEMA_VERSION}: "
            "evaluate into another out_dir"
        )
    names = {item.name for item in fields(Result)}
    with io.telling_damage(path):
        rows = (
            {key: value for key, value in row.items() if key in names} for row in content["results"]
        )
        return Results(
            content["primary"],
            tuple(Result(**row) for row in rows),
            content.get("verdict"),
            content.get("pins"),
        )


def write_results(out_dir: str, results: Results) -> str:
    """Write them in one atomic write; the path. Each row says whether it is the primary metric."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "primary": results.primary,
        "pins": results.pins,
        "results": [{**asdict(r), "primary": results.is_primary(r)} for r in results.results],
        "verdict": results.verdict,
    }
    path = RunFolder(out_dir).evaluation.results
    io.write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return path
