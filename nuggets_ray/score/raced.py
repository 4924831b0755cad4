"""From the answers of a race's rounds to rows of scores/: complete ones once they met every anchor,
eliminated ones when the race is over, explored ones when nothing more is computed of them.

Legend: n rows, A anchors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from nuggets_ray.records import ScoreRow
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import drop_eliminated, write_eliminated_scores, write_scores
from nuggets_ray.schedule.replay import Field, Replay
from nuggets_ray.schedule.seen import ALL
from nuggets_ray.score.score_rows import complete_row, eliminated_row
from nuggets_ray.score.zero_shot import ZeroShot

CHUNK = 10_000
"""Rows that are put together at a time: 40 MB with 1,000 anchors."""


def write_complete(run: Run, field: Field, baseline: ZeroShot, state: Replay) -> None:
    """Write the rows whose answers have come to cover every anchor."""
    stage_N = state.seen.stage_N
    rows = np.flatnonzero((stage_N != ALL) & state.is_covered_N)
    for part, one_shot_nA, tokens_n3 in _assembled(rows, field, state):
        scored = [
            complete_row(*values, baseline, own)
            for values, own in _values(part, one_shot_nA, tokens_n3, field)
        ]
        write_scores(run.out_dir, run.attempt_id, scored)


def write_eliminated(
    run: Run,
    field: Field,
    baseline: ZeroShot,
    copies: Mapping[str, Sequence[str]],
    state: Replay,
    status: str = "eliminated",
) -> None:
    """Write all rows that were left behind, or explored, and their copies, in place of those that
    an earlier race left behind."""
    rows = np.flatnonzero(state.seen.stage_N != ALL)
    for part, one_shot_nA, tokens_n3 in _assembled(rows, field, state):
        left = [
            eliminated_row(*values, baseline, own, status)
            for values, own in _values(part, one_shot_nA, tokens_n3, field)
        ]
        write_eliminated_scores(run.out_dir, run.attempt_id, _with_copies(left, copies))
    drop_eliminated(run.out_dir, but=run.attempt_id)


def _with_copies(rows: Sequence[ScoreRow], copies: Mapping[str, Sequence[str]]) -> list[ScoreRow]:
    return [
        replace(row, example_id=example_id)
        for row in rows
        for example_id in (row.example_id, *copies.get(row.content_id, ()))
    ]


def _values(
    rows: np.ndarray, one_shot_nA: np.ndarray, tokens_n3: np.ndarray, field: Field
) -> Iterator[tuple[tuple[str, tuple[int, int, int], np.ndarray], int | None]]:
    for index, row in enumerate(rows):
        prompt, answer, dropped = tokens_n3[index].tolist()
        own = int(field.self_anchor_N[row])
        content_id = str(field.content_id_N[row])
        yield (
            (content_id, (prompt, answer, dropped), one_shot_nA[index]),
            own if own >= 0 else None,
        )


def _assembled(
    rows: np.ndarray, field: Field, state: Replay
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(rows, log-probs (n, A) with NaN where there are none, tokens (n, 3)), chunk by chunk."""
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        place_N = np.full(len(field.content_id_N), -1)
        place_N[part] = np.arange(len(part))
        one_shot_nA = np.full((len(part), len(field.zero_shot_M)), np.nan, np.float32)
        tokens_n3 = np.zeros((len(part), 3), np.int64)
        for answers in state.answers():
            place = place_N[answers.rows]
            ours = place >= 0
            one_shot_nA[np.ix_(place[ours], answers.anchors)] = answers.one_shot[ours]
            tokens_n3[place[ours]] = answers.tokens[ours]
        yield part, one_shot_nA, tokens_n3
