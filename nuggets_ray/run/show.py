"""The show job: rows of a scored run on the terminal, for people without a browser. Reads, and
never writes; needs no Ray.
"""

from typing import Any

from nuggets_ray.config.show import ShowConfig
from nuggets_ray.run.joined import SCORE_COLUMNS, Joined, join_scores
from nuggets_ray.run.row_text import cut, one_line, printable
from nuggets_ray.run.shown_rows import (
    AnchorDelta,
    ShownRow,
    choose_rows,
    read_shown,
    rows_with_text,
    score_text,
)

ANCHOR_CHARS = 100
INDENT = "   "


def show_rows(out_dir: str, config: ShowConfig) -> dict[str, Any]:
    """Print the rows that `config` asks for; returns the job's JSON object.

    Works on a run that is still going or has died, with the rows scored so far. Raises UserError
    where nothing is scored yet, and where no row is what is asked for.
    """
    joined = join_scores(out_dir, SCORE_COLUMNS)
    matching = None if config.search is None else rows_with_text(out_dir, config.search)
    chosen = choose_rows(joined.table, config, matching)
    rows = read_shown(out_dir, joined.table, chosen.tolist())
    print(format_title(config, len(rows), joined))
    for place, row in enumerate(rows, start=1):
        print(f"\n{format_row(place, row, config)}")
    return {
        "wrote": [],
        "status": "done",
        "num_rows": len(rows),
        "num_scored": joined.table.num_rows,
        "example_ids": [row.example_id for row in rows],
    }


def format_title(config: ShowConfig, num_rows: int, joined: Joined) -> str:
    """What is shown, in one line."""
    which = {"top": "highest", "bottom": "lowest"}[config.order]
    of = f" that hold {config.search!r}" if config.search is not None else ""
    num_pending, num_left = joined.num_pending, joined.table["golden_score"].null_count
    waiting = f"; {num_pending:,} more wait for a score" if num_pending else ""
    left = f"; {num_left:,} have no golden score (left behind by a race, or explored)"
    left = left if num_left else ""
    return (
        f"{num_rows:,} of {joined.table.num_rows:,} scored rows{of}, {which} {config.by} first; "
        f"[...] is the 95% interval, a delta is nats per answer token{waiting}{left}"
    )


def format_row(place: int, row: ShownRow, config: ShowConfig) -> str:
    """A row as lines of text: its numbers, where it is from, its turns, and its anchors."""
    numbers = row.numbers
    lines = [f"{place}. {score_text(row)}, {_wins_text(numbers)}"]
    lines.append(
        f"{INDENT}{row.example_id}, row {row.row_number} of {row.source_path}, "
        f"{numbers['num_answer_tokens']} answer tokens"
    )
    if config.text:
        for role, text in row.turns:
            shown = cut(printable(text), config.max_chars)
            indent = " " * (len(INDENT) + len(role) + 2)
            lines.append(f"{INDENT}{role}: " + shown.replace("\n", f"\n{indent}"))
    helped = [delta for delta in row.deltas if delta.delta > 0][: config.num_anchors]
    hurt = [delta for delta in reversed(row.deltas) if delta.delta < 0][: config.num_anchors]
    for title, deltas in (("helped most", helped), ("hurt most", hurt)):
        lines += [f"{INDENT}{title}: {_anchor_text(delta, config.text)}" for delta in deltas]
    return "\n".join(lines)


def _wins_text(numbers: dict[str, Any]) -> str:
    near = numbers.get("num_near_ties")
    return (
        f"helped {numbers['num_wins']} of {numbers['num_anchors']} anchors"
        + (f" ({near} near ties)" if near else "")
        + f", mean delta {numbers['mean_delta']:+.3f}"
    )


def _anchor_text(delta: AnchorDelta, with_text: bool) -> str:
    text = f" {one_line(delta.text, ANCHOR_CHARS)}" if with_text else ""
    return f"{delta.delta:+.3f} anchor {delta.anchor_id}{text}"
