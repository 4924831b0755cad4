"""What may follow the ranking of a selection, and which of its keys go together.

The steps, in their order: eligible rows (min_answer_tokens, max_answer_tokens), quotas (per) and
lengths (match_length), near-duplicates (max_similarity), diversity.
"""

import math
from fractions import Fraction

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError

COUNTED = ("top_fraction", "top_k")
"""The rules that keep a number of rows, which can be divided."""


def has_steps(config: SelectConfig) -> bool:
    """Whether more than the best of the ranking is asked for."""
    return is_divided(config) or config.max_similarity is not None


def is_divided(config: SelectConfig) -> bool:
    """Whether rows are chosen by more than their rank."""
    divides = config.per is not None or config.match_length is not None
    return divides or config.diversity != "none"


def is_shares(quotas: dict[str, float]) -> bool:
    """Whether these are shares of the rows, not numbers of them."""
    return math.isclose(sum(quotas.values()), 1)


def check_steps(config: SelectConfig) -> None:
    """Raise UserError for steps that cannot be taken, whatever the scores."""
    low, high = config.min_answer_tokens, config.max_answer_tokens
    if low is not None and high is not None and low > high:
        raise UserError(
            f"select.min_answer_tokens={low} and select.max_answer_tokens={high} leave no row: "
            "swap them"
        )
    if config.per is None:
        for key, value in (("divide", config.divide), ("quotas", config.quotas)):
            if value not in ("proportional", {}):
                raise UserError(
                    f"select.{key}={value} needs select.per: the field whose values it is about, "
                    "such as select.per=category"
                )
    if config.quotas:
        _check_quotas(config)
    if not is_divided(config) or config.rule in COUNTED:
        return
    key = "per" if config.per is not None else "match_length"
    key = key if getattr(config, key) is not None else "diversity"
    raise UserError(
        f"select.{key}={getattr(config, key)} divides a number of rows, and "
        f"select.rule={config.rule} has none: take select=top_k or select=top_fraction"
    )


def _check_quotas(config: SelectConfig) -> None:
    quotas = config.quotas
    if config.divide != "proportional":
        raise UserError(
            f"select.quotas={quotas} and select.divide={config.divide} are two answers to one "
            "question: leave one out"
        )
    for value, quota in quotas.items():
        if quota < 0:
            raise UserError(f"select.quotas.{value}={quota}: must be at least 0")
    if is_shares(quotas):
        return
    if any(quota != int(quota) for quota in quotas.values()):
        raise UserError(
            f"select.quotas={quotas}: give numbers of rows, or shares that sum to 1 (these sum to "
            f"{sum(quotas.values()):g})"
        )
    total = sum(map(int, quotas.values()))
    if config.rule != "top_k" or config.k != total:
        raise UserError(
            f"select.quotas={quotas} ask for {total} rows in all: give select=top_k "
            f"select.k={total} with them, or shares that sum to 1"
        )


def expected_depth(config: SelectConfig, num_rows: int) -> int:
    """How far down the ranking a selection of `num_rows` may have to go.

    Of the steps only diversity says it; a tenth more is a guess for near-duplicates, twice as many
    one for rows that are divided by a field or by length.
    """
    depth = Fraction(num_rows)
    if config.diversity != "none":
        depth *= Fraction(str(config.pool))
    if config.max_similarity is not None:
        depth *= Fraction(11, 10)
    if config.per is not None or config.match_length is not None:
        depth *= 2
    return math.ceil(depth)


def check_sets(config: SelectConfig) -> None:
    """Raise UserError for what select.set and select.sets cannot be, or not beside other keys."""
    if config.set is None and not config.sets:
        return
    key = f"select.set={config.set}" if config.set else f"select.sets={config.sets}"
    if config.set and config.sets:
        raise UserError(f"{key} and select.sets={config.sets} exclude each other: leave one out")
    if config.by != "golden_score":
        raise UserError(
            f"{key} says whose golden score it is, and is not used by select.by={config.by}: leave "
            "one of the two out"
        )
    if not config.sets:
        return
    if config.rule == "threshold":
        raise UserError(
            f"{key}: a mixture of sets has no score to hold against a threshold: use "
            "select=top_fraction, select=top_k or select=top_tokens"
        )
    if min(config.sets.values()) <= 0 or abs(sum(config.sets.values()) - 1) > 1e-6:
        raise UserError(
            f"{key}: the shares sum to {sum(config.sets.values()):g}: give shares above 0 that sum "
            "to 1, as in {maths: 0.5, writing: 0.5}"
        )
