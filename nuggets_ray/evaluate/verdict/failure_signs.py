"""The method's failure signs, each looked for in the evidence where that holds what it takes."""

from nuggets_ray.evaluate.tables import number_text
from nuggets_ray.evaluate.verdict.evidence import MIN_DRAWS, TOKEN_DRAWS, Evidence
from nuggets_ray.evaluate.verdict.reliability import (
    MAX_LENGTH_AUC,
    MIN_RELIABILITY,
    LengthEffect,
    SplitHalf,
)

SIGNS = {
    "top_no_better_than_random": "golden against each draw",
    "bottom_no_worse_than_golden": "golden against bottom",
    "explained_by_tokens": "golden against draws matched in tokens",
    "unstable_across_anchors": "stability across halves of the anchors",
    "explained_by_length": "answer length of the selected",
}
"""{failure sign: what is looked at for it}"""


def failure_signs(evidence: Evidence) -> dict[str, str | None]:
    """{sign: a clause where it is seen, None where it was looked for and not seen}; a sign that
    could not be looked for is not there."""
    values = evidence.values
    signs: dict[str, str | None] = {}
    if evidence.draws:
        best = max(evidence.draws, key=lambda name: values[name])
        claim = "the top is no better than a random draw"
        seen = _no_better(evidence, best, claim)
        # to be above one or two draws is not to be better than random
        if seen or len(evidence.draws) >= MIN_DRAWS:
            signs["top_no_better_than_random"] = seen
    if evidence.bottom is not None:
        claim = f"the bottom is no worse than {evidence.golden}"
        signs["bottom_no_worse_than_golden"] = _no_better(evidence, evidence.bottom, claim)
    if any(one.against == TOKEN_DRAWS for one in evidence.differences):
        signs["explained_by_tokens"] = _tokens(evidence)
    if evidence.stability is not None:
        signs["unstable_across_anchors"] = _unstable(evidence.stability)
    if evidence.length is not None:
        signs["explained_by_length"] = _length(evidence.length)
    return signs


def _no_better(evidence: Evidence, name: str, claim: str) -> str | None:
    golden, other = evidence.values[evidence.golden], evidence.values[name]
    if golden > other:
        return None
    return f"{claim} ({name} {number_text(other)}, {evidence.golden} {number_text(golden)})"


def _tokens(evidence: Evidence) -> str | None:
    """Seen where golden beats the draws together, but not those matched in tokens."""
    all_draws = evidence.against_draws
    in_tokens = next(one for one in evidence.differences if one.against == TOKEN_DRAWS)
    if all_draws is None or all_draws.direction != 1 or in_tokens.direction == 1:
        return None
    return (
        f"{evidence.golden} is higher than all draws together but not than what was matched in "
        "tokens, so training tokens may explain it"
    )


def _unstable(stability: SplitHalf) -> str | None:
    if not stability.is_unstable:
        return None
    return (
        f"scores are unstable across halves of the anchors (reliability "
        f"{stability.reliability:.2f}, below {MIN_RELIABILITY}; rank correlation of the halves "
        f"{stability.rank_correlation:.2f})"
    )


def _length(length: LengthEffect) -> str | None:
    if not length.explains:
        return None
    way = "longer" if length.auc > 0.5 else "shorter"
    return (
        f"length explains the selection: its answers are the {way} ones (AUC {length.auc:.2f} "
        f"against the rest; from {MAX_LENGTH_AUC} up or {1 - MAX_LENGTH_AUC:.1f} down it counts)"
    )
