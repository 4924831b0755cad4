"""Did the selection help? Better, worse or not told apart, in one paragraph that claims no more
than the evidence shows.

    better, worse:  golden lies outside where a further random draw would, of those matched in rows
                    and of those matched in tokens, and its paired difference from their means
                    differs from 0 on that side after Holm's correction
Draws of one kind alone decide where the other was not made, and the paragraph says so.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nuggets_ray.evaluate.verdict.evidence import Evidence
from nuggets_ray.evaluate.verdict.failure_signs import failure_signs
from nuggets_ray.evaluate.verdict.paragraph import (
    BETTER,
    NOT_TOLD_APART,
    WORSE,
    format_paragraph,
)
from nuggets_ray.evaluate.verdict.power import MIN_DEGREES


@dataclass(frozen=True, slots=True)
class Verdict:
    """`outcome` is better, worse or not told apart; `numbers` is the evidence as plain JSON values;
    `signs` {name: sentence} are the failure signs seen, of `checked_signs`; `undecided_signs` were
    looked for, and the differences are within what trainings differ by."""

    outcome: str
    paragraph: str
    numbers: Mapping[str, Any]
    signs: Mapping[str, str]
    checked_signs: tuple[str, ...]
    undecided_signs: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON values, for results.json."""
        return asdict(self)


def decide(evidence: Evidence, is_of_pool: bool = False) -> Verdict:
    """The verdict on the evidence; `is_of_pool`: its rows were held out of the pool that was
    selected from.
    """
    outcome = _outcome(evidence)
    signs = failure_signs(evidence)
    seen = {name: sign.clause for name, sign in signs.items() if sign.is_seen}
    numbers = asdict(evidence) | {"num_comparisons": len(evidence.differences)}
    paragraph = format_paragraph(evidence, outcome, signs, is_of_pool)
    decided = tuple(name for name, sign in signs.items() if sign.is_seen is not None)
    undecided = tuple(name for name, sign in signs.items() if sign.is_seen is None)
    return Verdict(outcome, paragraph, numbers, seen, decided, undecided)


def _outcome(evidence: Evidence) -> str:
    sides = {evidence.side_of(draws) for draws in evidence.draws}
    if evidence.degrees_of_freedom < MIN_DEGREES or len(sides) != 1 or 0 in sides:
        return NOT_TOLD_APART
    return BETTER if sides == {1} else WORSE
