"""The core loop: render a candidate as a demonstration, take the one-shot log-probs, count the wins
over zero-shot.

A fault of one candidate is a record, never a loss and never a made-up score: it comes back as
`Unscored` with its reason, the others are scored.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nuggets_ray.errors import UserError
from nuggets_ray.prompts.prompt import Prompt, reason_to_skip
from nuggets_ray.records import Anchor, Encoding, Example, ScoreRow
from nuggets_ray.run.rounds import AnsweredRow
from nuggets_ray.score.contract import ScoringEngine
from nuggets_ray.score.row_signals import Passed, RowSignals
from nuggets_ray.score.score_rows import complete_row
from nuggets_ray.score.zero_shot import ZeroShot

logger = logging.getLogger(__name__)

CANDIDATES_A_CALL = {"cpu": 1, "cuda": 64}
"""How many candidates the engine gets at once: on a CPU one fills a pack, and progress is finer; a
GPU is waited for at the end of a call only."""


@dataclass(frozen=True, slots=True)
class Unscored:
    """A candidate that has no score, and why (a reason of skipped.parquet)."""

    content_id: str
    reason: str


def check_finite(anchors: Sequence[Anchor], zero_shot_A: np.ndarray, dtype: str) -> None:
    """Raise UserError for an anchor whose zero-shot log-prob is not finite."""
    for anchor, log_prob in zip(anchors, zero_shot_A, strict=True):
        if not np.isfinite(log_prob):
            raise UserError(
                f"anchor {anchor.anchor_id} ({anchor.text[:60]!r}) has a zero-shot log-prob of "
                f"{log_prob} in {dtype}: try score.dtype=float32, or remove it from the anchors"
            )


def render(
    prompt: Prompt, candidates: Sequence[tuple[str, Example]], max_demonstration_tokens: int
) -> list[Encoding]:
    """Each (content_id, example) pair as a demonstration of at most so many tokens."""
    return [prompt.demonstration(example, max_demonstration_tokens) for _, example in candidates]


def score_candidates(
    engine: ScoringEngine,
    prompt: Prompt,
    baseline: ZeroShot,
    candidates: Sequence[tuple[str, Example]],
    demonstrations: Sequence[Encoding],
    on_too_long: str,
    signals: RowSignals | None = None,
) -> list[ScoreRow | Unscored]:
    """Score (content_id, example) pairs with their `render`ed demonstrations against every anchor;
    one result each, in order (METHOD.md defines the golden score).

    A demonstration that was cut is Unscored under on_too_long="skip", and so is one whose answer
    was wholly cut. `signals` takes down those of the rows that are scored.
    """
    results: list[ScoreRow | Unscored] = []
    answers = one_shot_log_probs(engine, candidates, demonstrations, on_too_long, signals)
    for (content_id, _), demonstration, passed in zip(
        candidates, demonstrations, answers, strict=True
    ):
        self_index = self_anchor_of(content_id, baseline, prompt)
        if isinstance(passed, Unscored):
            results.append(passed)
        elif self_index is not None and len(baseline.anchors) == 1:
            results.append(Unscored(content_id, "no_other_anchor"))
        else:
            num_tokens = demonstration_tokens(demonstration)
            row = complete_row(content_id, num_tokens, passed.one_shot_A, baseline, self_index)
            results.append(row)
            if signals is not None:
                signals.add(content_id, demonstration, passed)
    return results


def answer_candidates(
    engine: ScoringEngine,
    candidates: Sequence[tuple[str, Example]],
    demonstrations: Sequence[Encoding],
    on_too_long: str,
    signals: RowSignals | None = None,
) -> list[AnsweredRow | Unscored]:
    """What a round of a race asks: the log-probs alone, on the engine's anchors of the moment."""
    results: list[AnsweredRow | Unscored] = []
    answers = one_shot_log_probs(engine, candidates, demonstrations, on_too_long, signals)
    for (content_id, _), demonstration, passed in zip(
        candidates, demonstrations, answers, strict=True
    ):
        if isinstance(passed, Unscored):
            results.append(passed)
            continue
        num_tokens = demonstration_tokens(demonstration)
        results.append(AnsweredRow(content_id, *num_tokens, passed.one_shot_A))
        if signals is not None:
            signals.add(content_id, demonstration, passed)
    return results


def one_shot_log_probs(
    engine: ScoringEngine,
    candidates: Sequence[tuple[str, Example]],
    demonstrations: Sequence[Encoding],
    on_too_long: str,
    signals: RowSignals | None = None,
) -> list[Passed | Unscored]:
    """One-shot log-probs (A,) of each candidate, finite, or why it has none; and what it told of
    itself where `signals` asks."""
    unfit = [reason_to_skip(demo, on_too_long, "too_long_for_context") for demo in demonstrations]
    fit = [demo for demo, why in zip(demonstrations, unfit, strict=True) if not why]
    passes = iter(passed_or_reasons(engine, fit, signals))
    results: list[Passed | Unscored] = []
    for (content_id, _), why in zip(candidates, unfit, strict=True):
        passed = why or next(passes)
        if isinstance(passed, str):
            results.append(Unscored(content_id, passed))
        elif not np.isfinite(passed.one_shot_A).all():
            results.append(Unscored(content_id, "non_finite_score"))
        else:
            results.append(passed)
    return results


def self_anchor_of(content_id: str, baseline: ZeroShot, prompt: Prompt) -> int | None:
    """Which anchor is left out because it is the candidate itself."""
    return None if keeps_self(prompt) else baseline.self_anchor_index(content_id)


def keeps_self(prompt: Prompt) -> bool:
    """Whether a candidate that is an anchor counts for itself too: in the official script it
    does."""
    return prompt.name == "official"


def demonstration_tokens(demonstration: Encoding) -> tuple[int, int, int]:
    """Tokens of a demonstration: prompt, answer, dropped."""
    num_answer_tokens = demonstration.num_answer_tokens
    num_prompt_tokens = demonstration.num_tokens - num_answer_tokens
    return num_prompt_tokens, num_answer_tokens, demonstration.num_dropped_tokens


def log_probs_or_nan(engine: ScoringEngine, prefixes: Sequence[np.ndarray]) -> np.ndarray | None:
    """One-shot log-probs of prefixes, (C, A), NaN where one has none; None where none has any."""
    shown = [Encoding(prefix, np.zeros(len(prefix), bool)) for prefix in prefixes]
    rows = [
        None if isinstance(passed, str) else passed.one_shot_A
        for passed in passed_or_reasons(engine, shown)
    ]
    shapes = {row.shape for row in rows if row is not None}
    if not shapes:
        return None
    none_A = np.full(shapes.pop(), np.nan, np.float32)
    return np.stack([none_A if row is None else row for row in rows])


def passed_or_reasons(
    engine: ScoringEngine, demonstrations: Sequence[Encoding], signals: RowSignals | None = None
) -> list[Passed | str]:
    """What came of each demonstration's pass, or the reason why nothing did."""
    if not demonstrations:
        return []
    try:
        if signals is not None:
            return list(signals.passed(demonstrations))
        prefixes = [demonstration.token_ids for demonstration in demonstrations]
        return [Passed(one_shot_A) for one_shot_A in engine.log_probs(prefixes)]
    except torch.AcceleratorError:
        raise  # the device is lost to this process, and with it every further candidate
    except (RuntimeError, ValueError) as error:
        if len(demonstrations) == 1:
            logger.warning("a candidate cannot be scored", exc_info=True)
            first_line = str(error).strip().partition("\n")[0]
            return [f"error: {type(error).__name__}: {first_line[:200]}"]
    return [
        result for one in demonstrations for result in passed_or_reasons(engine, [one], signals)
    ]
