"""What a run is doing, or how it ended, read from its folder alone: from any machine that sees it.

manifest.json says how the attempts ended, lease.json who holds the folder, status/STAGE.json what
that one last told. A driver that was killed could say nothing: its lease tells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nuggets_ray.config.keys import shell_command
from nuggets_ray.errors import UserError
from nuggets_ray.run.explored import explored_line
from nuggets_ray.run.funnel import FunnelRound, read_funnel
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.lease import ALIVE, DEAD, Lease, read_lease
from nuggets_ray.run.manifest import read_manifest
from nuggets_ray.run.scores import scored_ids
from nuggets_ray.run.selections import selection_names
from nuggets_ray.run.stage_status import StageStatus, read_stage_status

RUNNING, STUCK, KILLED = "running", "stuck", "killed"
STUCK_S = 600.0
"""So long without progress, where there was some, looks stuck."""
MANY = 20
"""So does a wait as long as this many of the kind take."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The stage that runs, or ran last. `state`: running, stuck (the process is there and gives no
    sign of life), killed, or how the attempt ended: done, failed, refused, interrupted.

    `started` and `ended` are in seconds since 1970; `stages` {stage: its status in the manifest};
    `num_written`: rows of scores/, where a scoring did not end well; `rounds` of a race, alive or
    not; `race`: what the manifest says of it once it is settled, or why it fell back; `explored`:
    what schedule=explore did, where it was the last.
    """

    out_dir: str
    stage: str
    state: str
    attempt_id: str
    attempt_number: int
    started: float
    ended: float | None
    stages: Mapping[str, str]
    lease: Lease | None
    told: StageStatus | None
    num_written: int | None
    counts: Mapping[str, int]
    rounds: tuple[FunnelRound, ...] = ()
    race: Mapping[str, Any] = field(default_factory=dict)
    explored: str | None = None
    next: tuple[str, ...] = ()

    @property
    def is_alive(self) -> bool:
        return self.state == RUNNING


def read_status(out_dir: str) -> RunStatus:
    """The status of the run in `out_dir`. Raises UserError where there is none."""
    lease = read_lease(out_dir)
    manifest = read_manifest(out_dir)
    stages = (manifest or {}).get("stages", {})
    if not stages and lease is None:
        raise UserError(
            f"out_dir={out_dir}: no run has begun there; {shell_command('score')} begins one"
        )
    stage, attempt, number = _current(stages, lease)
    state = _state(attempt, lease)
    told = read_stage_status(out_dir, stage)
    if told is not None and told.attempt_id != attempt["attempt_id"]:
        told = None  # of an earlier attempt
    is_partial = stage == "score" and state in (KILLED, "failed", "interrupted")
    rounds = read_funnel(out_dir, manifest or {}) if stage == "score" else ()
    counts = (manifest or {}).get("counts", {}) if stage == "score" and state == "done" else {}
    return RunStatus(
        out_dir=out_dir,
        stage=stage,
        state=state,
        attempt_id=attempt["attempt_id"],
        attempt_number=number,
        started=_seconds(attempt.get("started")) or (lease.heartbeat if lease else 0.0),
        ended=_seconds(attempt.get("ended")),
        stages=_states_of(stages, stage, state),
        lease=lease,
        told=told,
        num_written=_num_written(out_dir) if is_partial else None,
        counts=counts,
        rounds=rounds,
        race=_race((manifest or {}).get("race", {}), rounds, state) if stage == "score" else {},
        explored=explored_line(manifest or {}) if stage == "score" else None,
        next=tuple(_next_steps(out_dir, stage, state, told, lease, stages)),
    )


def _num_written(out_dir: str) -> int | None:
    """Rows of scores/; None in the moment when parts with added anchors take their place."""
    try:
        return len(scored_ids(out_dir))
    except UserError:
        return None


def _race(race: Mapping[str, Any], rounds: Sequence[FunnelRound], state: str) -> Mapping[str, Any]:
    """What is true of this attempt: an earlier one may have settled another race."""
    is_of_now = not rounds if "fell_back" in race else state == "done"
    return race if is_of_now else {}


def _current(stages: Mapping[str, Any], lease: Lease | None) -> tuple[str, Mapping[str, Any], int]:
    """(stage, its attempt, which of the stage it is) of who holds the folder, else of the last."""
    attempts = [
        (name, attempt, place)
        for name, stage in stages.items()
        for place, attempt in enumerate(stage["attempts"], 1)
    ]
    if lease is not None:
        held = [one for one in attempts if one[1]["attempt_id"] == lease.attempt_id]
        begins = {"attempt_id": lease.attempt_id}  # it has not written the manifest yet
        place = len(stages.get(lease.stage, {}).get("attempts", ())) + 1
        return held[0] if held else (lease.stage or "score", begins, place)
    return max(attempts, key=lambda one: (str(one[1]["started"]), one[2]))


def _state(attempt: Mapping[str, Any], lease: Lease | None) -> str:
    if lease is not None and lease.attempt_id == attempt["attempt_id"]:
        return {ALIVE: RUNNING, DEAD: KILLED}.get(lease.state(), STUCK)
    if attempt.get("ended") is None:
        return KILLED
    return str(attempt["status"])


def _states_of(stages: Mapping[str, Any], current: str, state: str) -> dict[str, str]:
    """What the manifest says of each stage; a killed one still says running there."""
    said = {name: str(stage["status"]) for name, stage in stages.items()}
    if state != "refused":
        said[current] = state
    return {
        name: KILLED if status == RUNNING and name != current else status
        for name, status in said.items()
    }


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def seconds_without_progress(status: RunStatus, now: float) -> float | None:
    """How long a run that lives has got no further, where that is longer than it should be."""
    told = status.told
    if not status.is_alive or told is None or told.work is None:
        return None
    work = told.work
    waited_s = now - (told.progressed or told.phase_since)
    usual_s = MANY / work.rate if work.rate else 0.0
    is_long = work.num_done < work.num_total and waited_s > max(STUCK_S, usual_s)
    return waited_s if is_long else None


def _next_steps(
    out_dir: str,
    stage: str,
    state: str,
    told: StageStatus | None,
    lease: Lease | None,
    stages: Mapping[str, Any],
) -> list[str]:
    """What to type next."""
    here = f"out_dir={out_dir}"
    if state in (RUNNING, STUCK):
        assert lease is not None
        watch = f"{shell_command('status')} {here} status.watch=true"
        stop = f"kill -INT {lease.pid}" + (
            "" if lease.is_of_this_machine else f" (on {lease.host})"
        )
        if lease.submission_id is not None:
            stop = f"ray job stop {lease.submission_id} (of make submit: make stop NAME=...)"
        return [watch, f"to stop it in order: {stop}"]
    was_done = state == "refused" and stages[stage]["status"] == "done"
    if state != "done" and not was_done:
        again = told.command if told is not None and told.command else ""
        return [again] if again else [f"the command that began {stage}, which goes on from here"]
    return _after(out_dir, stage, stages)


def _after(out_dir: str, stage: str, stages: Mapping[str, Any]) -> list[str]:
    """The job that follows a stage that is done."""
    here = f"out_dir={out_dir}"
    names = selection_names(out_dir)
    if stage == "evaluate":
        return [f"read {RunFolder(out_dir).evaluation.results_page}"]
    if stage.startswith("finetune-"):
        return [f"{shell_command('evaluate')} {here}"]
    if stage == "plan":
        return [f"{shell_command('score')} with the same keys"]
    if names:
        return [f"{shell_command('finetune')} {here} finetune.selection={names[0]}"]
    return [f"{shell_command('select')} {here} select=top_fraction select.fraction=0.05"]
