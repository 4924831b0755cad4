"""Did the selection help? Better, worse or not told apart, in one paragraph that claims no more
than the evidence shows.

    better, worse:  golden lies outside the prediction interval of at least 3 random draws, and its
                    paired difference from them differs from 0 on that side after Holm's correction
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nuggets_ray.evaluate.tables import number_text
from nuggets_ray.evaluate.verdict.evidence import (
    DRAWS,
    MIN_DRAWS,
    TOKEN_DRAWS,
    Difference,
    Evidence,
)
from nuggets_ray.evaluate.verdict.failure_signs import SIGNS, failure_signs

BETTER, WORSE, NOT_TOLD_APART = "better", "worse", "not told apart"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`outcome` is better, worse or not told apart; `numbers` is the evidence as plain JSON values;
    `signs` {name: sentence} are the failure signs seen, of `checked_signs`."""

    outcome: str
    paragraph: str
    numbers: Mapping[str, Any]
    signs: Mapping[str, str]
    checked_signs: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON values, for results.json."""
        return asdict(self)


def decide(evidence: Evidence) -> Verdict:
    """The verdict on the evidence."""
    outcome = _outcome(evidence)
    checked = failure_signs(evidence)
    seen = {name: sentence for name, sentence in checked.items() if sentence}
    numbers = asdict(evidence) | {"num_comparisons": len(evidence.differences)}
    sentences = [
        _lead(evidence, outcome),
        *_draws_in_tokens(evidence),
        *_others(evidence),
        *_gaps(evidence),
        *_signs_seen(checked),
    ]
    if outcome != NOT_TOLD_APART:
        sentences.append(
            f"This holds for this model, this way of training, one {evidence.golden} model and "
            "these rows."
        )
    return Verdict(outcome, " ".join(sentences), numbers, seen, tuple(checked))


def _outcome(evidence: Evidence) -> str:
    paired = evidence.against_draws
    if paired is None or len(evidence.draws) < MIN_DRAWS:
        return NOT_TOLD_APART
    if evidence.side_of_draws == 0 or evidence.side_of_draws != paired.direction:
        return NOT_TOLD_APART
    return BETTER if paired.direction > 0 else WORSE


def _lead(evidence: Evidence, outcome: str) -> str:
    golden, metric, num_draws = evidence.golden, evidence.metric, len(evidence.draws)
    if not evidence.values:
        return (
            f"Nothing can be told by {metric}: there is no row on which {golden} and the arms it "
            "is compared with all have a value."
        )
    value = number_text(evidence.values[golden])
    paired = evidence.against_draws
    if paired is None:
        return (
            f"No random draw was evaluated, so nothing tells whether {golden} beats a random few "
            f"by {metric}: it has {value} over {_rows(evidence)}."
        )
    difference = (
        f"Paired over {_rows(evidence)} the difference is "
        f"{_difference(paired, len(evidence.differences))}."
    )
    if num_draws < MIN_DRAWS:
        return f"{_too_few_draws(evidence)} {difference}"
    against = f"{value} against {number_text(evidence.draw_mean)} on average over {num_draws} draws"
    if outcome == NOT_TOLD_APART:
        return (
            f"{golden} and random draws are not told apart by {metric}: {against}"
            f"{_why_not(evidence)}. {difference} That does not show that they are equal."
        )
    return (
        f"{golden} is {outcome} than random draws by {metric}: {against}, of which a further one "
        f"would lie {_prediction(evidence)}. {difference}"
    )


def _too_few_draws(evidence: Evidence) -> str:
    values, golden, num_draws = evidence.values, evidence.golden, len(evidence.draws)
    too_few = (
        "One random draw cannot tell"
        if num_draws == 1
        else f"{num_draws} random draws, of {MIN_DRAWS} that are needed, cannot tell"
    )
    drawn = " and ".join(f"{name} has {number_text(values[name])}" for name in evidence.draws)
    return (
        f"{too_few} whether {golden} is better or worse than random by {evidence.metric}: how far "
        f"draws differ by chance is {'unknown' if num_draws == 1 else 'hardly known'}, and what "
        f"follows is about these models only. {golden} has {number_text(values[golden])}, {drawn}."
    )


def _why_not(evidence: Evidence) -> str:
    if evidence.prediction_low is None:
        return ", which do not differ among themselves, so there is no spread to judge by"
    if evidence.side_of_draws == 0:
        return f", and a further draw would lie {_prediction(evidence)}, as {evidence.golden} does"
    return (
        f"; a further draw would lie {_prediction(evidence)}, and {evidence.golden} does not, but "
        "over so many rows and comparisons the difference may be chance"
    )


def _prediction(evidence: Evidence) -> str:
    low, high = number_text(evidence.prediction_low), number_text(evidence.prediction_high)
    return f"between {low} and {high} (95%, if draws are normal)"


def _draws_in_tokens(evidence: Evidence) -> list[str]:
    if not evidence.draws:
        return []
    if not evidence.draws_matched_in_tokens:
        return ["No draw was matched in tokens, so more or fewer training tokens may play a part."]
    differences = [one for one in evidence.differences if one.against == TOKEN_DRAWS]
    named = " and ".join(evidence.draws_matched_in_tokens)
    if not differences:
        return ["All draws were matched in tokens."]
    difference = f"{_difference(differences[0])}, {_describe(differences[0], evidence.golden)}"
    return [f"Against {named}, matched in tokens: {difference}."]


def _others(evidence: Evidence) -> list[str]:
    others = [one for one in evidence.differences if one.against not in (DRAWS, TOKEN_DRAWS)]
    if not others:
        return []
    listed = "; ".join(
        f"{one.against} {_difference(one)}, {_describe(one, evidence.golden)}" for one in others
    )
    return [
        f"Against the other arms, the same way: {listed}. Each of these is one model against one, "
        "so how far two trainings differ by chance is not in their intervals."
    ]


def _gaps(evidence: Evidence) -> list[str]:
    gaps = []
    if evidence.arms_without_values:
        gaps.append(f"Without any value: {', '.join(evidence.arms_without_values)}.")
    if evidence.num_rows_left_out:
        gaps.append(f"Rows left out because an arm lacks a value: {evidence.num_rows_left_out}.")
    return gaps


def _signs_seen(checked: Mapping[str, str | None]) -> list[str]:
    seen = [sentence for sentence in checked.values() if sentence]
    unchecked = [text for name, text in SIGNS.items() if name not in checked]
    sentences = []
    if seen:
        sentences.append(f"Failure signs seen: {'; '.join(seen)}.")
    elif checked:
        looked_at = ", ".join(SIGNS[name] for name in checked)
        sentences.append(f"No failure sign was seen in what was checked: {looked_at}.")
    if unchecked:
        sentences.append(f"Not checked: {', '.join(unchecked)}.")
    return sentences


def _difference(difference: Difference, num_comparisons: int | None = None) -> str:
    bounds = "no interval"
    if difference.low is not None and difference.high is not None:
        bounds = (
            f"[{number_text(difference.low, sign='+')}, {number_text(difference.high, sign='+')}]"
        )
    corrected = f"p = {difference.p_holm:.2g}"
    if num_comparisons is not None:
        corrected += (
            " for the one comparison made"
            if num_comparisons == 1
            else f" after Holm's correction for {num_comparisons} comparisons"
        )
    return f"{number_text(difference.value, sign='+')} {bounds}, {corrected}"


def _describe(difference: Difference, golden: str) -> str:
    higher, lower = f"{golden} is higher", f"{golden} is lower"
    return {1: higher, -1: lower, 0: NOT_TOLD_APART}[difference.direction]


def _rows(evidence: Evidence) -> str:
    return f"{evidence.num_rows} row{'' if evidence.num_rows == 1 else 's'}"
