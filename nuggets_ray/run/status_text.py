"""The status of a run as lines for people."""

from collections.abc import Iterator
from datetime import datetime

from nuggets_ray.run.funnel import funnel_table
from nuggets_ray.run.meter import eta_text
from nuggets_ray.run.promise import promise_lines
from nuggets_ray.run.stage_status import Said, WorkDone, WorkerCounts
from nuggets_ray.run.status import KILLED, RUNNING, STUCK, RunStatus, seconds_without_progress
from nuggets_ray.units import duration_text

WIDTH = 10
"""Of the column of names."""


def status_lines(status: RunStatus, now: float) -> list[str]:
    """The screen of a run at the moment `now` (seconds since 1970)."""
    rows = [(name, text) for name, text in _rows(status, now) if text]
    names = [name if i == 0 or rows[i - 1][0] != name else "" for i, (name, _) in enumerate(rows)]
    return [f"{name:<{WIDTH}}{text}" for name, (_, text) in zip(names, rows, strict=True)]


def _rows(status: RunStatus, now: float) -> Iterator[tuple[str, str]]:
    told = status.told
    yield "run", status.out_dir
    yield "stage", _stage(status, now)
    yield "state", _state(status, now)
    if told is not None:
        if status.state in (RUNNING, STUCK, KILLED):
            yield "doing" if status.is_alive else "was", _phase(told.phase, told.phase_since, now)
        if told.workers is not None and status.state in (RUNNING, STUCK, KILLED):
            yield "workers", _workers(told.workers)
        if told.work is not None:
            yield "done", _done(told.work, told.progressed, now)
            yield "rate", _rate(told.work, status.is_alive)
        yield "numbers", ", ".join(_number(name, value) for name, value in told.numbers.items())
    for line in funnel_table(status.rounds) if status.rounds else ():
        yield "rounds", line
    for line in promise_lines(status.race):
        yield "race", line
    yield "explore", status.explored or ""
    yield "written", "" if status.num_written is None else f"{status.num_written} rows of scores"
    yield "counts", ", ".join(f"{count} {name[4:]}" for name, count in status.counts.items())
    waited_s = seconds_without_progress(status, now)
    if waited_s is not None:
        yield "stuck?", f"nothing new for {duration_text(waited_s)}; the log says more"
    if told is not None:
        yield "warning", _said(told.warning, now)
        yield "error", _said(told.error, now)
    yield "stages", ", ".join(f"{name} {state}" for name, state in status.stages.items())
    for step in status.next:
        yield "next", step


def _stage(status: RunStatus, now: float) -> str:
    begun = datetime.fromtimestamp(status.started).strftime("%Y-%m-%d %H:%M:%S")
    lasted = duration_text(max(0.0, (status.ended or now) - status.started))
    took = f", took {lasted}" if status.ended else f" ({lasted} ago)"
    return f"{status.stage}, attempt {status.attempt_number}, begun {begun}{took}"


def _state(status: RunStatus, now: float) -> str:
    lease = status.lease
    if lease is None or status.state not in (RUNNING, STUCK, KILLED):
        return status.state
    place = f"process {lease.pid} on {lease.host}"
    age = f"last sign of life {duration_text(lease.age_s())} ago"
    job = f", submitted as {lease.submission_id}" if lease.submission_id else ""
    if status.state == RUNNING:
        return f"running: {place}{job}, {age}"
    if status.state == STUCK:
        return f"stuck: {place}{job} is there and does not answer (stopped?), {age}"
    gone = "is gone" if lease.is_of_this_machine else "gives no sign of life any more"
    return f"dead: {place}{job} {gone}, {age}"


def _phase(phase: str, since: float, now: float) -> str:
    return f"{phase} (for {duration_text(max(0.0, now - since))})"


def _workers(counts: WorkerCounts) -> str:
    parts = [f"{counts.wanted} wanted", f"{counts.ready} ready", f"{counts.loading} loading"]
    waiting = counts.wanted - counts.ready - counts.loading
    if waiting > 0:
        parts.append(f"{waiting} not there yet")
    if counts.lost:
        parts.append(f"{counts.lost} lost, {counts.replaced} of them replaced")
    return ", ".join(parts)


def _done(work: WorkDone, progressed: float | None, now: float) -> str:
    share = f" ({work.num_done / work.num_total:.0%})" if work.num_total else ""
    before = f", {work.num_reused} of them before" if work.num_reused else ""
    last = (
        "" if progressed is None else f"; the last {duration_text(max(0.0, now - progressed))} ago"
    )
    return f"{work.num_done:,} of {work.num_total:,} {work.unit}{share}{before}{last}"


def _rate(work: WorkDone, is_alive: bool) -> str:
    if work.rate is None:
        return "none yet" if is_alive and work.num_done < work.num_total else ""
    over_all = f"{format_rate(work.rate, work.unit)} over all"
    if not is_alive or work.num_done >= work.num_total:
        return over_all
    now = format_rate(work.rate_now or 0.0, work.unit)
    return f"{now} now, {over_all}, ETA {eta_text(work.eta_s)}"


def format_rate(rate: float, unit: str) -> str:
    """A rate in units a second, told a minute or an hour where that is below one."""
    per, seconds = ("s", 1) if rate >= 1 or not rate else ("min", 60)
    if 0 < rate * seconds < 1:
        per, seconds = "h", 3600
    number = rate * seconds
    return f"{number:,.0f} {unit}/{per}" if number >= 1000 else f"{number:.3g} {unit}/{per}"


def _number(name: str, value: float | str) -> str:
    shown = name.replace("_per_s", "/s").replace("_", " ")
    if isinstance(value, str):
        return f"{shown} {value}"
    return f"{shown} {value:,}" if isinstance(value, int) else f"{shown} {value:,.4g}"


def _said(said: Said | None, now: float) -> str:
    return "" if said is None else f"{said.text} ({duration_text(max(0.0, now - said.at))} ago)"
