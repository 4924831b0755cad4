"""A verdict in words: one paragraph, to be read aloud, that claims no more than the evidence
shows.
"""

from collections.abc import Mapping

from nuggets_ray.evaluate import stats
from nuggets_ray.evaluate.tables import number_text
from nuggets_ray.evaluate.verdict.evidence import (
    ROW_DRAWS,
    TOKEN_DRAWS,
    Difference,
    Draws,
    Evidence,
)
from nuggets_ray.evaluate.verdict.failure_signs import SIGNS, Sign
from nuggets_ray.evaluate.verdict.power import MIN_DEGREES

BETTER, WORSE, NOT_TOLD_APART = "better", "worse", "not told apart"
OF_POOL = (
    "The rows were held out of the pool that was selected from, which favours what looks like the "
    "pool, random draws above all: a narrower selection can lose here and win on a task of its "
    "own, which evaluate.held_out_path or a judged benchmark as evaluate.primary asks about."
)
UNITS = {
    "likelihood/mean_logprob": " nats per answer token",
    "alpaca_eval/win_rate": " percentage points",
    "mt_bench/grade": " points",
    "mt_bench/grade_turn_1": " points",
}
"""{metric: what a difference is in}"""
PLACES = {1: "above", -1: "below", 0: "within"}


def format_paragraph(
    evidence: Evidence, outcome: str, signs: Mapping[str, Sign], is_of_pool: bool
) -> str:
    """The sentences on an outcome, the failure signs looked for, and what limits them."""
    sentences = [
        *_lead(evidence, outcome),
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
    return " ".join(sentences)


def _lead(evidence: Evidence, outcome: str) -> list[str]:
    golden, metric = evidence.golden, evidence.metric
    if not evidence.values:
        return [
            f"Nothing can be told by {metric}: there is no row on which {golden} and the arms it "
            "is compared with all have a value."
        ]
    value = number_text(evidence.values[golden])
    if not evidence.draws:
        return [
            f"No random draw was evaluated, so nothing tells whether {golden} beats a random few "
            f"by {metric}: it has {value} over {_rows(evidence)}."
        ]
    if evidence.degrees_of_freedom < MIN_DEGREES:
        return [_too_few_draws(evidence), _paired(evidence)]
    averages = ", ".join(
        f"{'the average' if n == 0 else 'that'} of {_num_draws(draws)} is {number_text(draws.mean)}"
        for n, draws in enumerate(evidence.draws)
    )
    if outcome == NOT_TOLD_APART:
        return [
            f"{golden} and random draws are not told apart by {metric}: {golden} has {value}, "
            f"{averages}.",
            _place(evidence),
            _paired(evidence),
            "That does not show that they are equal.",
        ]
    return [
        f"{golden} is {outcome} than random draws by {metric}: it has {value}, {averages}.",
        _place(evidence),
        _paired(evidence),
    ]


def _num_draws(draws: Draws) -> str:
    number = len(draws.arms)
    return f"{number} draw{'' if number == 1 else 's'} {_short(draws.kind)}"


def _short(kind: str) -> str:
    """matched in rows, matched in tokens"""
    return kind.removeprefix("random draws ")


def _place(evidence: Evidence) -> str:
    """Where one more draw would lie, and golden does."""
    if evidence.training_sd is None:
        return "The draws do not differ among themselves, so there is no spread to judge by."
    bounds = " and ".join(
        f"between {number_text(draws.low)} and {number_text(draws.high)} if {_short(draws.kind)}"
        for draws in evidence.draws
    )
    value = evidence.values[evidence.golden]
    places = {draws.kind: PLACES[draws.side_of(value) or 0] for draws in evidence.draws}
    if len(set(places.values())) > 1:
        where = " and ".join(
            f"{place} the range of those {_short(kind)}" for kind, place in places.items()
        )
    else:
        ranges = "both ranges" if len(places) > 1 else "that range"
        where = f"{next(iter(places.values()))} {ranges}"
    return (
        f"One more draw would lie {bounds} (95%, if trainings are normal); {evidence.golden} lies "
        f"{where}."
    )


def _paired(evidence: Evidence) -> str:
    """Golden against the mean of each kind of draws, row by row."""
    paired = [one for draws in evidence.draws if (one := evidence.against(draws.kind))]
    differences = " and ".join(
        f"from the draws {_short(one.against)} {'is ' * (n == 0)}{_difference(one, evidence)}"
        for n, one in enumerate(paired)
    )
    value = evidence.values[evidence.golden]
    is_outside = all(draws.side_of(value) for draws in evidence.draws)
    may_be_chance = ""
    if is_outside and not all(one.direction for one in paired):
        may_be_chance = " Over so many rows and comparisons that may be chance."
    return (
        f"Row by row, over {_rows(evidence)}, the difference of {evidence.golden} {differences}"
        f"{_corrected(len(evidence.differences))}.{may_be_chance}"
    )


def _too_few_draws(evidence: Evidence) -> str:
    values, golden = evidence.values, evidence.golden
    names = [name for draws in evidence.draws for name in draws.arms]
    too_few = "One random draw" if len(names) == 1 else f"{len(names)} random draws"
    *first, last = [f"{name} {number_text(values[name])}" for name in names]
    drawn = f"{', '.join(first)} and {last}" if first else last
    return (
        f"{too_few} cannot tell whether {golden} is better or worse than random by "
        f"{evidence.metric} (3 of a kind can): how far trainings differ by chance is "
        f"{'unknown' if evidence.degrees_of_freedom < 1 else 'hardly known'}, and what follows is "
        f"about these models only. {golden} has {number_text(values[golden])}, {drawn}."
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
    effect, spread = evidence.detectable_effect, evidence.training_sd
    if effect is None or spread is None or outcome != NOT_TOLD_APART:
        return []
    return [
        f"An effect of {number_text(effect)}{UNITS.get(evidence.metric, '')}, "
        f"{effect / spread:.1f} standard deviations of a training, would have been missed half of "
        "the time, and a smaller one more often."
    ]


def _others(evidence: Evidence) -> list[str]:
    others = [one for one in evidence.differences if one.against not in (ROW_DRAWS, TOKEN_DRAWS)]
    if not others:
        return []
    listed = "; ".join(
        f"{evidence.named(one.against)} {_difference(one, evidence)}, "
        f"{_describe(one, evidence.golden)}"
        for one in others
    )
    return [
        f"Row by row against the other models: {listed}. Each of these is one "
        "model against one, so how far two trainings differ by chance is not in their intervals."
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
        sentences.append(
            f"Undecided, because the difference may be chance: {', '.join(undecided)}."
        )
    if unchecked:
        sentences.append(f"Not checked: {', '.join(unchecked)}.")
    return sentences


def _difference(difference: Difference, evidence: Evidence) -> str:
    """+0.6 [+0.51, +0.68] (p = 0.0005); or why there is no interval."""
    value, p_value = number_text(difference.value, sign="+"), f"p = {difference.p_holm:.2g}"
    if difference.low is not None and difference.high is not None:
        low, high = number_text(difference.low, sign="+"), number_text(difference.high, sign="+")
        return f"{value} [{low}, {high}] ({p_value})"
    if evidence.num_rows < stats.MIN_ROWS:
        return f"{value} ({p_value}, too few rows for an interval)"
    return f"{value} ({p_value}, the same in all rows)"


def _corrected(num_comparisons: int) -> str:
    return f"; p is Holm's for {num_comparisons} comparisons" if num_comparisons > 1 else ""


def _describe(difference: Difference, golden: str) -> str:
    higher, lower = f"{golden} is higher", f"{golden} is lower"
    return {1: higher, -1: lower, 0: NOT_TOLD_APART}[difference.direction]


def _rows(evidence: Evidence) -> str:
    return f"{evidence.num_rows} row{'' if evidence.num_rows == 1 else 's'}"
