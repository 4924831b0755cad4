"""The method's failure signs, each looked for in the evidence where that holds what it takes.

A sign is seen, or not seen, only where the difference is larger than trainings differ by chance;
between the two it is undecided.
"""

from dataclasses import dataclass

from nuggets_ray.evaluate import stats
from nuggets_ray.evaluate.tables import number_text
from nuggets_ray.evaluate.verdict.evidence import ROW_DRAWS, TOKEN_DRAWS, Draws, Evidence
from nuggets_ray.evaluate.verdict.reliability import (
    MAX_LENGTH_AUC,
    MIN_RELIABILITY,
    LengthEffect,
    SplitHalf,
)

SIGNS = {
    "top_no_better_than_random": "golden against random draws",
    "bottom_no_worse_than_golden": "golden against bottom",
    "explained_by_tokens": "golden against draws matched in tokens",
    "unstable_across_anchors": "stability across halves of the anchors",
    "explained_by_length": "answer length of the selected",
}
"""{failure sign: what is looked at for it}"""


@dataclass(frozen=True, slots=True)
class Sign:
    """`is_seen` is None where the evidence does not decide; `clause` says what is seen."""

    is_seen: bool | None
    clause: str = ""


def failure_signs(evidence: Evidence) -> dict[str, Sign]:
    """{sign: what was seen of it}; a sign that could not be looked for is not there."""
    signs: dict[str, Sign] = {}
    rows, tokens = evidence.of_kind(ROW_DRAWS), evidence.of_kind(TOKEN_DRAWS)
    if (draws := rows or tokens) and evidence.training_sd is not None:
        signs["top_no_better_than_random"] = _top(evidence, draws)
    if evidence.bottom is not None and evidence.training_sd is not None:
        signs["bottom_no_worse_than_golden"] = _bottom(evidence, evidence.bottom)
    if rows and tokens and evidence.training_sd is not None:
        signs["explained_by_tokens"] = _tokens(evidence, rows, tokens)
    if evidence.stability is not None:
        signs["unstable_across_anchors"] = _unstable(evidence.stability)
    if evidence.length is not None:
        signs["explained_by_length"] = _length(evidence.length)
    return signs


def _top(evidence: Evidence, draws: Draws) -> Sign:
    side = evidence.side_of(draws)
    if side == 0:
        return Sign(None)
    golden = number_text(evidence.values[evidence.golden])
    return Sign(
        side < 0,
        f"the top is worse than {draws.kind} ({evidence.golden} {golden}, a further draw would lie "
        f"above {number_text(draws.low)})",
    )


def _bottom(evidence: Evidence, bottom: str) -> Sign:
    """Two trainings differ by t(df) sd sqrt(2) or less with 95%."""
    paired = evidence.against(bottom)
    assert paired is not None and evidence.training_sd is not None
    golden, other = evidence.values[evidence.golden], evidence.values[bottom]
    by_chance = stats.largest_difference(evidence.training_sd, evidence.degrees_of_freedom)
    if abs(golden - other) <= by_chance or paired.direction == 0:
        return Sign(None)
    return Sign(
        golden < other,
        f"the {evidence.named(bottom)} is better than {evidence.golden} ({bottom} "
        f"{number_text(other)}, "
        f"{evidence.golden} {number_text(golden)}; two trainings differ by up to "
        f"{number_text(by_chance)} by chance)",
    )


def _tokens(evidence: Evidence, rows: Draws, tokens: Draws) -> Sign:
    """Seen where golden lies outside the draws matched in rows alone."""
    return Sign(
        evidence.side_of(rows) == 1 and evidence.side_of(tokens) != 1,
        f"{evidence.golden} is higher than draws of as many rows but not than draws of as many "
        "tokens, so training tokens may explain it",
    )


def _unstable(stability: SplitHalf) -> Sign:
    return Sign(
        stability.is_unstable,
        f"scores are unstable across halves of the anchors (reliability "
        f"{stability.reliability:.2f}, below {MIN_RELIABILITY}; rank correlation of the halves "
        f"{stability.rank_correlation:.2f})",
    )


def _length(length: LengthEffect) -> Sign:
    way = "longer" if length.auc > 0.5 else "shorter"
    return Sign(
        length.explains,
        f"length explains the selection: its answers are the {way} ones (AUC {length.auc:.2f} "
        f"against the rest; from {MAX_LENGTH_AUC} up or {1 - MAX_LENGTH_AUC:.1f} down it counts; "
        "select.match_length=random-0 makes a selection that it does not explain)",
    )
