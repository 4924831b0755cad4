"""A judge's verdicts for people to read: question, answers and the judge's words, by model."""

from collections.abc import Sequence

from nuggets_ray.evaluate.judge.judge import Grade, PairVerdict

_OUTCOMES = {1.0: "the model wins", 0.5: "a tie", 0.0: "the model loses", None: "not to be read"}


def pair_page(judge: str, verdicts: Sequence[PairVerdict]) -> str:
    """A model's pairs of answers, each with the verdicts in both orders."""
    first = verdicts[0].pair
    parts = [f"# {first.model} against {first.against}, judged by {judge}"]
    for verdict in verdicts:
        pair = verdict.pair
        preference = verdict.preference
        shared = "left out" if preference is None else f"{preference:g} of 1 for {pair.model}"
        parts += [
            f"## Question {pair.prompt.prompt_id} ({pair.prompt.category}): {shared}",
            _quoted(pair.prompt.turns[0]),
            f"**{pair.model}**",
            _quoted(pair.answer),
            f"**{pair.against}**",
            _quoted(pair.reference),
        ]
        orders = (
            (pair.model, pair.against, verdict.shown_first),
            (pair.against, pair.model, verdict.shown_second),
        )
        for (model_a, model_b, outcome), text in zip(orders, verdict.texts, strict=True):
            parts += [f"**A: {model_a}, B: {model_b}: {_OUTCOMES[outcome]}**", _quoted(text)]
    return "\n\n".join(parts) + "\n"


def grade_page(judge: str, grades: Sequence[Grade]) -> str:
    """A model's answers, turn by turn, each with its grade."""
    parts = [f"# {grades[0].answered.model}, graded by {judge}"]
    for item in grades:
        question, index = item.answered.question, item.turn - 1
        told = "not to be read" if item.grade is None else f"{item.grade:g} of 10"
        parts += [
            f"## Question {question.prompt_id} ({question.category}), turn {item.turn}: {told}",
            _quoted(question.turns[index]),
            f"**{item.answered.model}**",
            _quoted(item.answered.turns[index]),
            f"**{judge}**",
            _quoted(item.text),
        ]
    return "\n\n".join(parts) + "\n"


def _quoted(text: str) -> str:
    """Set off from the page, whose headings it cannot break."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines() or ["(nothing)"])
