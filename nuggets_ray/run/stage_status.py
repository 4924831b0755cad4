"""status/STAGE.json: what a stage is doing, told by its driver for whoever asks from elsewhere.

The stages tell it through `Run.tell`: in which phase they are, how much is done of what, who works,
and numbers of their own, under the names that status prints. What comes next to be told (the rounds
of a race, say) is another phase, or another of `numbers`.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from nuggets_ray import io
from nuggets_ray.io import write_json
from nuggets_ray.run.layout import RunFolder


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """Workers of a stage: `lost` and `replaced` count over the attempt, the others are as of
    now.
    """

    wanted: int = 0
    loading: int = 0
    ready: int = 0
    lost: int = 0
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """A line of the log, and when it was said (seconds since 1970)."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class WorkDone:
    """How much is done of what: `unit` in the plural, rates in units a second of computing time.

    `num_reused` of `num_done` were there when the attempt began.
    """

    unit: str
    num_done: int
    num_total: int
    num_reused: int = 0
    rate_now: float | None = None
    rate: float | None = None
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class StageStatus:
    """What an attempt of a stage last told. Times are in seconds since 1970; `progressed`: when
    `work` last moved.
    """

    stage: str
    attempt_id: str
    phase: str = "starting"
    phase_since: float = 0.0
    work: WorkDone | None = None
    progressed: float | None = None
    workers: WorkerCounts | None = None
    numbers: Mapping[str, float | str] = field(default_factory=dict)
    warning: Said | None = None
    error: Said | None = None
    command: str = ""
    updated: float = 0.0


_PARTS: dict[str, Any] = {
    "work": WorkDone,
    "workers": WorkerCounts,
    "warning": Said,
    "error": Said,
}


def read_stage_status(out_dir: str, stage: str) -> StageStatus | None:
    """What the last attempt of a stage told; None of a stage that told nothing."""
    try:
        content = io.read_json(RunFolder(out_dir).status(stage))
    except FileNotFoundError:
        return None
    with io.telling_damage(RunFolder(out_dir).status(stage)):
        values = _known(StageStatus, content)
        for name, part in _PARTS.items():
            if values.get(name) is not None:
                values[name] = part(**_known(part, values[name]))
        return StageStatus(**values)


def _known(record: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """What this program knows of it: another version may have told more."""
    names = {one.name for one in fields(record)}
    return {key: value for key, value in content.items() if key in names}


class Telling(logging.Handler):
    """The status of an attempt, as it is told; the last warning and error of the log with it."""

    def __init__(self, out_dir: str, stage: str, attempt_id: str, command: str) -> None:
        super().__init__(logging.WARNING)
        self._uri = RunFolder(out_dir).status(stage)
        self._lock = threading.RLock()
        self._is_new = True
        self.has_begun = False
        """Whether there was work to do: until then an error is a call refused."""
        now = time.time()
        self.status = StageStatus(stage, attempt_id, phase_since=now, command=command, updated=now)

    def tell(self, **values: Any) -> bool:
        """Set fields of the status; whether that is worth writing at once."""
        now = time.time()
        with self._lock:
            before = self.status
            if values.get("phase", before.phase) != before.phase:
                values = {"work": None, "progressed": None, "phase_since": now, **values}
            work: WorkDone | None = values.get("work")
            self.has_begun = self.has_begun or work is not None
            num_before = before.work.num_done if before.work else None
            if work is not None and num_before not in (None, work.num_done):
                values["progressed"] = now
            self.status = replace(before, **values)
            self._is_new = self._is_new or self.status != before
        return any(
            getattr(before, name) != getattr(self.status, name) for name in ("phase", "workers")
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the last line of its kind."""
        text = " ".join(record.getMessage().split())
        kind = "error" if record.levelno >= logging.ERROR else "warning"
        self.tell(**{kind: Said(text, record.created)})

    def write(self) -> None:
        """Write what is new. The run goes on where that cannot be."""
        with self._lock:
            if not self._is_new:
                return
            self.status = replace(self.status, updated=time.time())
            content, self._is_new = asdict(self.status), False
        try:
            write_json(self._uri, content)
        except OSError:
            self._is_new = True
