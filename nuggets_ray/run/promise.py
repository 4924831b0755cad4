"""What a race promised, as sentences, from the manifest's `race`: told by the log, by status and by
the selection. A recall never stands alone: beside it stands how far two anchor sets agree.
"""

import math
from collections.abc import Mapping
from typing import Any

from nuggets_ray.units import duration_text


def promise_at(race: Mapping[str, Any], num_rows: int) -> dict[str, Any] | None:
    """{top_k, expected_recall, agreement} of the best `num_rows` of a race that settled at least as
    many: of the next larger number that was looked at, whose expected loss these cannot exceed.
    None where nothing was promised.
    """
    looked_at = [one for one in race.get("at", ()) if one["top_k"] >= num_rows]
    if not looked_at:
        return None
    nearest = min(looked_at, key=lambda one: one["top_k"])
    recall = max(0.0, 1 - nearest["expected_loss"] / max(num_rows, 1))
    return {
        "top_k": num_rows,
        "expected_recall": recall,
        "agreement": nearest["agreement"],
        "is_of": nearest["top_k"],
    }


def selection_promise(race: Mapping[str, Any], num_rows: int) -> dict[str, Any] | None:
    """What is promised of a selection of the best `num_rows` golden scores: {settled, text and what
    `promise_at` tells}; None of a run that was no race."""
    if race.get("top_k") is None:
        return None
    return {
        "settled": race["top_k"],
        **(promise_at(race, num_rows) or {}),
        "text": [line for line in (recall_line(race, num_rows), basis_line(race)) if line],
    }


def promise_lines(race: Mapping[str, Any]) -> list[str]:
    """What was promised and what it rests on, what was saved and how long it took, a line each; or
    why there was no race. [] of a run that was none."""
    if "fell_back" in race:
        return [f"nothing to gain, so all was scored: {race['fell_back']}"]
    if race.get("top_k") is None:
        return []
    lines = (
        *(recall_line(race, race["top_k"]), basis_line(race)),
        *(savings_line(race), times_line(race)),
    )
    return [line for line in lines if line]


def recall_line(race: Mapping[str, Any], num_rows: int) -> str:
    """The recall of the best `num_rows`, and the agreement beside it."""
    num_anchors = race["num_anchors"]
    if race["num_complete"] >= race["num_candidates"]:
        return f"every row met all {num_anchors} anchors: nothing was left behind"
    promise = promise_at(race, num_rows)
    if promise is None:  # of an older version
        recall, num_rows, at_least = race.get("expected_recall") or 0.0, race["top_k"], ""
        agreement: Mapping[str, Any] | str = "this race did not look"
    else:
        recall, agreement = promise["expected_recall"], promise["agreement"]
        at_least = "at least " if promise["is_of"] > num_rows else ""
    return (
        f"the best {num_rows} are expected to hold {at_least}{_recall(recall)} of what full "
        f"scoring on these {num_anchors} anchors would have kept; {agreement_text(agreement)}"
    )


def agreement_text(agreement: Mapping[str, Any] | str) -> str:
    """How far two anchor sets of this size agree, or why that is not known."""
    if isinstance(agreement, str):
        return f"how far two anchor sets of this size agree cannot be told ({agreement})"
    low, high = _share(agreement["low"]), _share(agreement["high"])
    text = (
        f"two anchor sets of this size agree on only {_share(agreement['agreement'])} of them "
        f"({low} to {high}, by halves of the anchors on {agreement['num_rows']} rows"
    )
    if agreement["is_beyond"]:
        share = agreement["num_best"] / agreement["num_rows"]
        text += f"; so few tell of the best {share:.0%}, beyond that it is extrapolated"
    return f"{text})"


def basis_line(race: Mapping[str, Any]) -> str:
    """How well predictions held: on the pilot's held-out folds, and on the survivors."""
    parts = []
    for key, of_what in (
        ("held_out", "predicted totals of held-out pilot rows"),
        ("survivors", "of the rows completed last"),
    ):
        one = race.get(key)
        if one is not None:
            parts.append(
                f"{one['covered']:.0%} of {one['num_predictions']} {of_what} are within their 95% "
                f"intervals (bias {one['bias_wins']:+.1f} wins)"
            )
    return f"it rests on: {'; '.join(parts)}" if parts else ""


def savings_line(race: Mapping[str, Any]) -> str:
    """Passes and tokens beside those of full scoring."""
    saved = ", ".join(
        f"{race[f'num_{unit}']:,} {unit} of full scoring's {race[f'num_{unit}_full']:,} "
        f"({race[f'num_{unit}_full'] / max(race[f'num_{unit}'], 1):.1f} times fewer)"
        for unit in ("passes", "tokens")
    )
    return f"{race['num_complete']} of {race['num_candidates']} rows are complete: {saved}"


def times_line(race: Mapping[str, Any]) -> str:
    """How long the rounds took, and how long a worker had nothing to do."""
    times = race.get("times")
    if not times or not times["num_rounds"]:
        return ""
    return (
        f"{times['num_rounds']} rounds took {duration_text(times['seconds'])}, "
        f"{duration_text(times['seconds'] / times['num_rounds'])} each; a worker waited "
        f"{duration_text(times['waited_s'])} of it at barriers"
    )


def _recall(recall: float) -> str:
    """0.997, and 1 only where nothing is lost."""
    return f"{math.floor(recall * 1000 + 1e-9) / 1000:g}"


def _share(share: float) -> str:
    return f"{share:.2f}"
