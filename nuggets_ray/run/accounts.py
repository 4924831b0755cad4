"""Every row of the data accounted for: rows = scored + skipped + excluded.

A row may be skipped, never lost.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from nuggets_ray.config.limits import allowed_values
from nuggets_ray.config.schema import DataConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.candidates import CandidateIds, is_among
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import num_scored_by, read_scores, scored_ids
from nuggets_ray.run.skipped import EXCLUDED_REASONS, LeftOut, count_kinds, count_reasons

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accounts:
    """Where the rows of the data went.

    `is_scored_N` says it of each candidate, `reasons` {reason of skipped.parquet: rows} of the
    others.
    """

    num_rows: int
    num_skipped: int
    num_excluded: int
    is_scored_N: np.ndarray
    reasons: Counter[str]

    @property
    def num_scored(self) -> int:
        return int(self.is_scored_N.sum())


def account(
    out_dir: str, num_rows: int, candidates: CandidateIds, left_out: Collection[str]
) -> Accounts:
    """Count the `num_rows` rows of the data in scores/ and skipped.parquet; candidates whose
    content_id is in `left_out` count as not scored. Raises RuntimeError where the counts do not
    add up.
    """
    reasons = count_reasons(out_dir)
    num_excluded = sum(reasons[reason] for reason in EXCLUDED_REASONS)
    num_skipped = reasons.total() - num_excluded
    is_scored_N = is_among(candidates.example_id_N, scored_ids(out_dir))
    is_scored_N &= ~is_among(candidates.content_id_N, left_out)
    accounts = Accounts(num_rows, num_skipped, num_excluded, is_scored_N, reasons)
    if accounts.num_scored + num_skipped + num_excluded != num_rows:
        raise RuntimeError(
            f"rows are unaccounted for: {num_rows} in the data, {accounts.num_scored} scored, "
            f"{num_skipped} skipped, "
            f"{num_excluded} excluded"
        )
    return accounts


def check_accounts(accounts: Accounts, left_out: Mapping[str, LeftOut], data: DataConfig) -> None:
    """Tell why rows have no score; `left_out` {content_id: why} of candidates. UserError where too
    many were skipped.
    """
    if accounts.reasons:
        reasons = ", ".join(f"{n} {reason}" for reason, n in accounts.reasons.most_common())
        logger.info("without a score: %s", reasons)
    _warn_of_given_up(left_out.values(), data.retry)
    _check_skipped(accounts, data.max_skipped_fraction)


def _check_skipped(accounts: Accounts, max_fraction: float) -> None:
    if accounts.num_skipped > max_fraction * accounts.num_rows:
        most = accounts.reasons.most_common(1)[0][0]
        raise UserError(
            f"data.max_skipped_fraction={max_fraction}: {accounts.num_skipped} of "
            f"{accounts.num_rows} rows were "
            f"skipped ({most} most often, see skipped.parquet); mend the "
            "data, or raise it"
        )


def _warn_of_given_up(left_out: Collection[LeftOut], retry: Sequence[str]) -> None:
    """WARN of rows that have no score for what happened to them, not for what they are."""
    given_up = [why for why in left_out if why.kind in allowed_values(DataConfig, "retry")]
    again = [why for why in given_up if why.is_tried_again(retry)]
    final = [why for why in given_up if why not in again]
    if again:
        logger.warning(
            "%d candidates have no score (%s): the same command tries them once more (data.retry)",
            *(len(again), count_kinds(again)),
        )
    if final:
        logger.warning(
            "%d candidates have no score and are not tried again (%s, data.retry=%s)",
            *(len(final), count_kinds(final), list(retry)),
        )


def near_tie_fraction(out_dir: str) -> float | None:
    """The share of all decisions of scores/ that are near ties; None where there are none."""
    near_ties = decisions = 0
    for table in read_scores(out_dir, ["num_near_ties", "num_anchors"]):
        near_ties += pc.sum(table["num_near_ties"]).as_py() or 0
        decisions += pc.sum(table["num_anchors"]).as_py() or 0
    return near_ties / decisions if decisions else None


def count_killed_attempts(run: Run) -> None:
    """Complete the books of attempts that could not: what they computed is what they wrote."""
    for attempt in run.manifest["stages"]["score"]["attempts"]:
        if attempt["status"] == "killed":
            written = num_scored_by(run.out_dir, attempt["attempt_id"])
            attempt["num_computed"] = max(attempt.get("num_computed", 0), written)
