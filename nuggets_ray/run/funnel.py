"""The rounds of a race as a funnel: how many rows are alive, were left behind and came back, what
that may have cost and what it saved. Read from the run folder alone, whether the run is alive or
not; a number that an older run did not write down is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nuggets_ray import io
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.units import duration_text

HEAD = (
    *("round", "asks for", "alive", "left behind", "came back", "complete"),
    *("loss spent", "allowed", "passes so far", "saved so far", "took", "waited"),
)


@dataclass(frozen=True, slots=True)
class FunnelRound:
    """A decided round. Counts of rows are as of its plan: `num_alive` may still be among the best
    and are not complete, `num_asked` of them compute in this round. `expected_loss` is how many of
    the wanted rows the ones left behind are expected to hold, of `allowed_loss`.

    `num_passes` and `num_tokens` are the round's own; `num_passes_so_far` with all before it,
    `num_passes_saved` what the rows left behind would still have cost. `seconds` is the time it
    took, `waited_s` that of it in which a worker had nothing to do, on average.
    """

    number: int
    phase: str
    num_asked: int
    num_left: int
    num_back: int
    num_complete: int
    allowed_loss: float
    expected_loss: float
    expected_recall: float | None
    top_k: int | None = None
    num_alive: int | None = None
    num_passes: int | None = None
    num_tokens: int | None = None
    num_passes_so_far: int | None = None
    num_passes_full: int | None = None
    num_passes_saved: int | None = None
    seconds: float | None = None
    waited_s: float | None = None


def read_funnel(out_dir: str, manifest: Mapping[str, Any]) -> tuple[FunnelRound, ...]:
    """The rounds that were decided, in order; () where no race was run."""
    folder = RunFolder(out_dir)
    numbers = sorted(int(name) for name in io.list_folders(folder.rounds) if name.isdigit())
    plans = (folder.round(number).plan for number in numbers)
    reports = [io.read_json(plan) for plan in plans if io.exists(plan)]
    return make_funnel([(one["number"], one["report"]) for one in reports], manifest)


def make_funnel(
    reports: Sequence[tuple[int, Mapping[str, Any]]], manifest: Mapping[str, Any]
) -> tuple[FunnelRound, ...]:
    """The same of [(number, report of a round)]; `manifest` knows how long they took."""
    took = round_times(manifest)
    funnel = []
    so_far: int | None = 0
    for number, report in reports:
        passes = report.get("num_passes")
        so_far = None if so_far is None or passes is None else so_far + passes
        num_rows, num_anchors = report.get("num_candidates"), report.get("num_anchors")
        seconds, waited_s = took.get(number, (None, None))
        num_out = report["num_left"] + report["num_complete"]
        funnel.append(
            FunnelRound(
                number=number,
                phase=report["phase"],
                num_asked=report["num_live"],
                num_left=report["num_left"],
                num_back=report.get("num_back", 0),
                num_complete=report["num_complete"],
                allowed_loss=report.get("allowed_loss", 0.0),
                expected_loss=report.get("expected_loss", 0.0),
                expected_recall=report.get("expected_recall"),
                top_k=report.get("top_k"),
                num_alive=None if num_rows is None else num_rows - num_out,
                num_passes=passes,
                num_tokens=report.get("num_tokens"),
                num_passes_so_far=so_far,
                num_passes_full=num_rows * num_anchors if num_rows and num_anchors else None,
                num_passes_saved=report.get("num_passes_saved"),
                seconds=seconds,
                waited_s=waited_s,
            )
        )
    return tuple(funnel)


def round_times(manifest: Mapping[str, Any]) -> dict[int, tuple[float, float]]:
    """{round: (seconds, of which a worker waited)} over all attempts that told."""
    took: dict[int, tuple[float, float]] = {}
    for attempt in manifest.get("stages", {}).get("score", {}).get("attempts", ()):
        for one in attempt.get("rounds", ()):
            seconds, waited_s = took.get(one["number"], (0.0, 0.0))
            took[one["number"]] = (seconds + one["seconds"], waited_s + one["waited_s"])
    return took


def funnel_line(one: FunnelRound) -> str:
    """A round as a line of the log."""
    alive = "" if one.num_alive is None else f"{one.num_alive:,} alive, "
    parts = [
        f"{alive}{one.num_asked:,} asked, {one.num_left:,} left behind, {one.num_back:,} came "
        f"back, {one.num_complete:,} complete"
    ]
    if one.expected_recall is not None:
        parts.append(f"loss spent {one.expected_loss:.2f} of {one.allowed_loss:.2f} rows")
    if one.num_passes_so_far is not None and one.num_passes_full:
        share = one.num_passes_so_far / one.num_passes_full
        parts.append(f"{one.num_passes_so_far:,} passes with it, {share:.0%} of full scoring's")
    if one.num_passes_saved:
        parts.append(f"{one.num_passes_saved:,} saved so far")
    return f"round {one.number}, {one.phase}: {'; '.join(parts)}"


def funnel_table(funnel: Sequence[FunnelRound]) -> list[str]:
    """The rounds as lines of a table."""
    rows = [HEAD, *(_cells(one) for one in funnel)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]


def _cells(one: FunnelRound) -> tuple[str, ...]:
    has_loss = one.expected_recall is not None
    return (
        *(str(one.number), one.phase, _count(one.num_alive), _count(one.num_left)),
        *(_count(one.num_back), _count(one.num_complete)),
        f"{one.expected_loss:.2f}" if has_loss else "-",
        f"{one.allowed_loss:.2f}" if has_loss else "-",
        *(_count(one.num_passes_so_far), _count(one.num_passes_saved)),
        *(_time(one.seconds), _time(one.waited_s)),
    )


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration_text(seconds)
