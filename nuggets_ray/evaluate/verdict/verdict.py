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

from nuggets_ray.evaluate.tables import number_text
from nuggets_ray.evaluate.verdict.evidence import (
    ROW_DRAWS,
    TOKEN_DRAWS,
    Difference,
    Draws,
    Evidence,
)
from nuggets_ray.evaluate.verdict.failure_signs import SIGNS, Sign, failure_signs
from nuggets_ray.evaluate.verdict.power import MIN_DEGREES

OF_POOL = (
    "The rows were held out of the pool that was selected from, which favours what looks like the "
    "pool, random draws above all: a narrower selection can lose here and win on a task of its "
    "own, which evaluate.held_out_path or a judged benchmark as evaluate.primary asks about."
)
BETTER, WORSE, NOT_TOLD_APART = "better", "worse", "not told apart"


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
    sentences = [
        _lead(evidence, outcome),
        *_tokens(evidence, outcome),
        *_power(evidence, outcome),
        *_others(evidence),
        *_gaps(evidence),
        *_signs_seen(signs),
    ]
    if is_of_pool and evidence.draws:
        sentences.append(OF_POOL)
    if outcome != NOT_TOLD_APART:
        sentences.append(
            f"This holds for this model, this way of training, one {evidence.golden} model and "
            "these rows."
        )
    decided = tuple(name for name, sign in signs.items() if sign.is_seen is not None)
    undecided = tuple(name for name, sign in signs.items() if sign.is_seen is None)
    return Verdict(outcome, " ".join(sentences), numbers, seen, decided, undecided)


def _outcome(evidence: Evidence) -> str:
    sides = {evidence.side_of(draws) for draws in evidence.draws}
    if evidence.degrees_of_freedom < MIN_DEGREES or len(sides) != 1 or 0 in sides:
        return NOT_TOLD_APART
    return BETTER if sides == {1} else WORSE


def _lead(evidence: Evidence, outcome: str) -> str:
    golden, metric = evidence.golden, evidence.metric
    if not evidence.values:
        return (
            f"Nothing can be told by {metric}: there is no row on which {golden} and the arms it "
            "is compared with all have a value."
        )
    value = number_text(evidence.values[golden])
    if not evidence.draws:
        return (
            f"No random draw was evaluated, so nothing tells whether {golden} beats a random few "
            f"by {metric}: it has {value} over {_rows(evidence)}."
        )
    paired = [evidence.against(draws.kind) for draws in evidence.draws]
    num_compared = len(evidence.differences)
    differences = (
        f"Paired over {_rows(evidence)} the difference is "
        + "; ".join(f"{_difference(one)} from {_short(one.against)}" for one in paired if one)
        + f" ({_corrected(num_compared)})."
    )
    if evidence.degrees_of_freedom < MIN_DEGREES:
        return f"{_too_few_draws(evidence)} {differences}"
    against = " and ".join(
        f"{number_text(draws.mean)} on average over {_num_draws(draws)}" for draws in evidence.draws
    )
    if outcome == NOT_TOLD_APART:
        return (
            f"{golden} and random draws are not told apart by {metric}: {value} against {against}"
            f"{_why_not(evidence)}. {differences} That does not show that they are equal."
        )
    return (
        f"{golden} is {outcome} than random draws by {metric}: {value} against {against}; "
        f"{_predictions(evidence)}. {differences}"
    )


def _num_draws(draws: Draws) -> str:
    number = len(draws.arms)
    return f"{number} draw{'' if number == 1 else 's'} {_short(draws.kind)}"


def _short(kind: str) -> str:
    """matched in rows, matched in tokens"""
    return kind.removeprefix("random draws ")


def _predictions(evidence: Evidence) -> str:
    bounds = " and ".join(
        f"between {number_text(draws.low)} and {number_text(draws.high)} {_short(draws.kind)}"
        for draws in evidence.draws
    )
    return f"a further draw would lie {bounds} (95%, if trainings are normal)"


def _too_few_draws(evidence: Evidence) -> str:
    values, golden = evidence.values, evidence.golden
    names = [name for draws in evidence.draws for name in draws.arms]
    too_few = "One random draw" if len(names) == 1 else f"{len(names)} random draws"
    drawn = " and ".join(f"{name} has {number_text(values[name])}" for name in names)
    return (
        f"{too_few} cannot tell whether {golden} is better or worse than random by "
        f"{evidence.metric} (3 of a kind can): how far trainings differ by chance is "
        f"{'unknown' if evidence.degrees_of_freedom < 1 else 'hardly known'}, and what follows is "
        f"about these models only. {golden} has {number_text(values[golden])}, {drawn}."
    )


def _why_not(evidence: Evidence) -> str:
    if evidence.training_sd is None:
        return ", which do not differ among themselves, so there is no spread to judge by"
    value = evidence.values[evidence.golden]
    within = [draws for draws in evidence.draws if draws.side_of(value) == 0]
    if within and len(within) == len(evidence.draws):
        return f"; {_predictions(evidence)}, as {evidence.golden} does"
    if within:
        kinds = " and ".join(_short(draws.kind) for draws in within)
        return f"; {_predictions(evidence)}, and {evidence.golden} lies among those {kinds}"
    return (
        f"; {_predictions(evidence)}, and {evidence.golden} does not, but over so many rows and "
        "comparisons the difference may be chance"
    )


def _tokens(evidence: Evidence, outcome: str) -> list[str]:
    """What the draws matched in tokens, or their absence, say of training tokens."""
    rows, tokens = evidence.of_kind(ROW_DRAWS), evidence.of_kind(TOKEN_DRAWS)
    if rows and not tokens:
        return ["No draw was matched in tokens, so more or fewer training tokens may play a part."]
    if tokens and not rows:
        return ["All draws were matched in tokens."]
    if rows and tokens and len(tokens.arms) == 1 and outcome != NOT_TOLD_APART:
        return [f"What tokens do rests on one training, {tokens.arms[0]}."]
    return []


def _power(evidence: Evidence, outcome: str) -> list[str]:
    if evidence.detectable_effect is None or outcome != NOT_TOLD_APART:
        return []
    return [
        f"An effect below {number_text(evidence.detectable_effect)} would have been missed half of "
        "the time."
    ]


def _others(evidence: Evidence) -> list[str]:
    others = [one for one in evidence.differences if one.against not in (ROW_DRAWS, TOKEN_DRAWS)]
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


def _signs_seen(signs: Mapping[str, Sign]) -> list[str]:
    seen = [sign.clause for sign in signs.values() if sign.is_seen]
    unseen = [SIGNS[name] for name, sign in signs.items() if sign.is_seen is False]
    undecided = [SIGNS[name] for name, sign in signs.items() if sign.is_seen is None]
    unchecked = [text for name, text in SIGNS.items() if name not in signs]
    sentences = []
    if seen:
        sentences.append(f"Failure signs seen: {'; '.join(seen)}.")
    elif unseen:
        sentences.append(f"No failure sign was seen in what was checked: {', '.join(unseen)}.")
    if undecided:
        sentences.append(f"Within what trainings differ by, so undecided: {', '.join(undecided)}.")
    if unchecked:
        sentences.append(f"Not checked: {', '.join(unchecked)}.")
    return sentences


def _difference(difference: Difference) -> str:
    bounds = "(no interval)"
    if difference.low is not None and difference.high is not None:
        bounds = (
            f"[{number_text(difference.low, sign='+')}, {number_text(difference.high, sign='+')}]"
        )
    return f"{number_text(difference.value, sign='+')} {bounds}, p = {difference.p_holm:.2g}"


def _corrected(num_comparisons: int) -> str:
    if num_comparisons == 1:
        return "one comparison made"
    return f"p after Holm's correction for {num_comparisons} comparisons"


def _describe(difference: Difference, golden: str) -> str:
    higher, lower = f"{golden} is higher", f"{golden} is lower"
    return {1: higher, -1: lower, 0: NOT_TOLD_APART}[difference.direction]


def _rows(evidence: Evidence) -> str:
    return f"{evidence.num_rows} row{'' if evidence.num_rows == 1 else 's'}"
