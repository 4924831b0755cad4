"""What was run, and what it cost: rows, passes, attempts, and what a race saved."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from nuggets_ray.report.material import Material
from nuggets_ray.report.page import Grid, Section
from nuggets_ray.run.funnel import funnel_table, read_funnel
from nuggets_ray.run.promise import promise_lines
from nuggets_ray.run.status import RunStatus
from nuggets_ray.units import duration_text, size_text

ATTEMPT_COLUMNS = ("stage", "attempt", "status", "began", "took", "predicted", "workers", "work")


def overview(material: Material) -> Section:
    """The section: facts of the run, its stages and attempts, the rounds of a race."""
    funnel = read_funnel(material.out_dir, material.manifest)
    return Section(
        "overview",
        "What was run, and what it cost",
        {
            "facts": [(name, value) for name, value in _facts(material) if value],
            "attempts": Grid(ATTEMPT_COLUMNS, list(_attempts(material))),
            "passes": passes_text(material),
            "funnel": funnel_table(funnel) if funnel else [],
            "promises": promise_lines(material.manifest.get("race", {})),
            "command": material.status.told.command
            if material.status is not None and material.status.told is not None
            else "",
        },
    )


def passes_text(material: Material) -> str:
    """How many pairs of row and anchor were computed, of all there are."""
    num_anchors = len(material.anchors[0])
    if material.joined is None or not num_anchors:
        return ""
    table = material.table
    is_first_N = table["example_id"].to_numpy() == table["content_id"].to_numpy()
    asked = int(material.column("num_anchors")[is_first_N].sum())
    everything = int(is_first_N.sum()) * num_anchors
    text = f"{asked:,} of the {everything:,} pairs of a scored row and an anchor count in a score"
    if asked > 0.95 * everything:
        return text + "."
    return (
        f"{text} ({asked / everything:.0%}): the race left the others out, which is "
        f"{everything / asked:.1f} times fewer than scoring every row in full."
    )


def partial_text(material: Material) -> str:
    """Why the page shows a part only; "" where all there is to score is scored."""
    status = material.status
    state = "" if status is None else status.state
    stage = "" if status is None else status.stage
    if not material.is_partial:
        if state in ("running", "stuck", "killed", "failed", "interrupted"):
            return f"{stage} is {state}; what is below is of what was there when this was made."
        return ""
    if material.joined is None:
        return f"No row is scored yet; {stage or 'the run'} is {state or 'not begun'}."
    done, waiting = material.table.num_rows, material.joined.num_pending
    return (
        f"{done:,} of {done + waiting:,} candidates are scored, {waiting:,} wait; the scoring is "
        f"{state or 'not over'}. Make the report again once it is done."
    )


def lead_text(material: Material) -> str:
    """The run in a sentence."""
    model = material.settings.get("model", {}).get("path", "") or "a model"
    num_anchors = len(material.anchors[0])
    if material.joined is None:
        return f"Instruction rows of {_data(material)} to be scored by {model}."
    return (
        f"{material.table.num_rows:,} instruction rows of {_data(material)}, scored by {model} "
        f"against {num_anchors:,} anchors. The golden score of a row is the share of anchors whose "
        "answer becomes likelier with the row shown in front."
    )


def _data(material: Material) -> str:
    return material.settings.get("data", {}).get("path", "") or "the run"


def _facts(material: Material) -> Iterator[tuple[str, str]]:
    manifest, settings = material.manifest, material.settings
    counts = manifest.get("counts", {})
    fingerprint = manifest.get("fingerprint", {})
    engine = manifest.get("engine", {})
    yield "out_dir", material.out_dir
    yield "data", _data(material)
    yield "model", settings.get("model", {}).get("path", "")
    yield "prompt", str(fingerprint.get("template", "")).partition(" ")[0]
    yield "dtype", fingerprint.get("dtype", "")
    yield "anchors", _anchors_text(material)
    yield "schedule", settings.get("schedule", {}).get("name", "")
    yield "rows in the data", f"{counts['num_rows']:,}" if counts else ""
    if counts:
        yield "scored", f"{counts['num_scored']:,}"
        yield "skipped", f"{counts['num_skipped']:,}"
        yield "excluded", f"{counts['num_excluded']:,}"
    yield "inputs", _inputs_text(manifest.get("inputs", []))
    yield "engine", f"{engine['engine']}: {engine['why']}" if engine.get("why") else ""
    yield "seed", str(settings.get("seed", ""))
    yield "versions", ", ".join(f"{k} {v}" for k, v in manifest.get("versions", {}).items())


def _anchors_text(material: Material) -> str:
    sets: dict[str, int] = {}
    for anchor in material.anchors[0]:
        sets[anchor.anchor_set] = sets.get(anchor.anchor_set, 0) + 1
    return ", ".join(f"{num:,} {name}" for name, num in sets.items())


def _inputs_text(inputs: list[Mapping[str, Any]]) -> str:
    if not inputs:
        return ""
    size = size_text(sum(one["num_bytes"] for one in inputs))
    return f"{len(inputs):,} file{'s' if len(inputs) > 1 else ''}, {size}"


def _attempts(material: Material) -> Iterator[list[str]]:
    for stage, told in material.manifest.get("stages", {}).items():
        for number, attempt in enumerate(told["attempts"], start=1):
            yield [
                stage,
                str(number),
                _state(material.status, attempt),
                str(attempt["started"]).replace("T", " ").partition("+")[0],
                _took(attempt),
                duration_text(attempt["predicted_s"]) if attempt.get("predicted_s") else "",
                str(attempt.get("num_workers", "")),
                _work(attempt),
            ]


def _state(status: RunStatus | None, attempt: Mapping[str, Any]) -> str:
    if status is not None and attempt["attempt_id"] == status.attempt_id:
        return status.state
    return "killed" if attempt.get("ended") is None else str(attempt["status"])


def _took(attempt: Mapping[str, Any]) -> str:
    if attempt.get("ended") is None:
        return ""
    began, ended = (datetime.fromisoformat(attempt[key]) for key in ("started", "ended"))
    return duration_text((ended - began).total_seconds())


def _work(attempt: Mapping[str, Any]) -> str:
    told = []
    if attempt.get("num_computed") is not None:
        told.append(f"{attempt['num_computed']:,} rows computed")
    if attempt.get("num_reused"):
        told.append(f"{attempt['num_reused']:,} reused")
    if attempt.get("num_steps"):
        told.append(f"{attempt['num_steps']:,} steps")
    if attempt.get("tokens_per_s"):
        told.append(f"{attempt['tokens_per_s']:,.0f} tokens/s")
    return ", ".join(told)
