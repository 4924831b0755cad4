"""Which candidates to keep: scores in, the chosen rows in rank order out (numpy only).

First `rank`: the rows that can be chosen, best first; then `cut`: the best of them by a rule. What
may stand between the two (quotas, near-duplicates, diversity, lengths) is in curate/.

Rules: top_fraction keeps ceil(fraction x scored rows), top_k keeps k, top_tokens as many as have
nearest to that many answer tokens, threshold keeps the rows strictly above min_score (below it
under order=bottom). Ranked by golden score, a seeded random draw, or answer length; ties by mean
delta, then example_id. Whatever the ranking, only eligible rows can be chosen or count in a
fraction: under unique=true the first copy of each content, and answers of min_answer_tokens to
max_answer_tokens.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from fractions import Fraction

import numpy as np

from nuggets_ray.config.keys import job_command
from nuggets_ray.config.limits import check_limits
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.config.select_steps import check_sets, check_steps
from nuggets_ray.errors import UserError
from nuggets_ray.mixture import SetScores, rank_mixture
from nuggets_ray.signals.blend import blend
from nuggets_ray.signals.by import check_by, is_blend, name_of, weights_of
from nuggets_ray.signals.ifd import misfits
from nuggets_ray.signals.longest import longest
from nuggets_ray.signals.random import random_order

OUR_COLUMNS = ("example_id", "golden_score", "rank")
RULES = {
    "top_fraction": "fraction",
    "top_k": "k",
    "top_tokens": "tokens",
    "threshold": "min_score",
}


@dataclass(frozen=True, slots=True)
class Scores:
    """The scored rows as arrays of shape (N,), one entry a candidate row, in any order.

    `golden_score` is float64, NaN where the row is not complete (eliminated early): such a row
    counts as scored and can be drawn at random or by length, but never by golden score.
    `mean_delta` is in nats per answer token. `posterior_score` is None where the run has none, NaN
    where a row has none. `sets`: the scores by those anchor sets that are asked for. `signals`:
    others by the names of select.by, NaN where a row has none; `rds_turn`: at which turn of a
    round-robin over the anchors each row is taken.
    """

    example_id: np.ndarray
    content_id: np.ndarray
    golden_score: np.ndarray
    mean_delta: np.ndarray
    num_answer_tokens: np.ndarray
    posterior_score: np.ndarray | None = None
    sets: Mapping[str, SetScores] = dataclass_field(default_factory=dict)
    signals: Mapping[str, np.ndarray] = dataclass_field(default_factory=dict)
    rds_turn: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """The rows that can be chosen, `ranked_R`, best first: indices into the arrays of Scores.

    `measure_N` is what they are ranked by. `is_eligible_N` counts rows without a measure too.
    `num_copies`: scored rows that unique=true left out because their content came before;
    `num_out_of_bounds`: those that their answer's length left out.
    """

    ranked_R: np.ndarray
    measure_N: np.ndarray
    is_eligible_N: np.ndarray
    num_copies: int
    num_out_of_bounds: int

    @property
    def num_eligible(self) -> int:
        return int(self.is_eligible_N.sum())


@dataclass(frozen=True, slots=True)
class Selection:
    """The kept rows: `row_K` indexes the arrays of Scores, best rank first.

    `cutoff` is the measure (golden score, or answer tokens under by=longest) of the last kept row,
    None under random, of a mixture, and where more than the rank decided. `ranking`: what it was
    made of.
    """

    name: str
    row_K: np.ndarray
    cutoff: float | None
    ranking: Ranked


def check_config(config: SelectConfig) -> None:
    """Raise UserError for a setting that no scores could make right; needs no data, so call it
    before reading any."""
    check_limits(config, "select.")
    check_by(config.by, config.scores_path)
    for rule, key in RULES.items():
        value = getattr(config, key)
        if rule == config.rule and value is None:
            raise UserError(f"select.rule={rule} needs select.{key}: set it")
        if rule != config.rule and value is not None:
            raise UserError(
                f"select.{key}={value} is not used by select.rule={config.rule}: "
                f"choose it with select={rule}, or leave select.{key} out"
            )
    if config.fraction is not None and not 0 < config.fraction <= 1:
        raise UserError(
            f"select.fraction={config.fraction} is outside (0, 1]: give a share such as 0.05"
        )
    if config.k is not None and config.k < 1:
        raise UserError(f"select.k={config.k} keeps nothing: it must be at least 1")
    if config.tokens is not None and config.tokens < 1:
        raise UserError(f"select.tokens={config.tokens} keeps nothing: it must be at least 1")
    if config.by == "random":
        _check_random(config)
    check_sets(config)
    check_steps(config)
    name = default_name(config) if config.name is None else config.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(
            f"select.name={name!r} is no folder name: use letters, digits, '.', '_' and '-', "
            "starting with a letter or digit"
        )


def _check_random(config: SelectConfig) -> None:
    if config.rule == "threshold":
        raise UserError(
            "select.by=random has no score to hold against a threshold: "
            "use select=top_fraction, select=top_k or select=top_tokens"
        )
    if config.order == "bottom":
        raise UserError(
            "select.order=bottom means nothing under select.by=random: "
            "use select.draw=1 for another random set"
        )
    if config.draw < 0:
        raise UserError(f"select.draw={config.draw} is negative: draws are numbered from 0")


def check_clash(columns: Iterable[str], prefix: str) -> None:
    """Raise UserError if a source column has the name of one of the columns that the selected files
    add."""
    ours = {prefix + column for column in OUR_COLUMNS}
    clashing = sorted(ours.intersection(columns))
    if clashing:
        raise UserError(
            f"the data already has a field named {clashing[0]}, which the selected files add: "
            f"set select.prefix to something else (now {prefix!r}), e.g. select.prefix=nuggets_"
        )


def default_name(config: SelectConfig) -> str:
    """The folder under selections/ when select.name is not set."""
    if config.by == "random":
        return f"random-{config.draw}" + ("-tokens" if config.rule == "top_tokens" else "")
    name = name_of(config.by)
    if config.order == "bottom":
        name = {"golden": "bottom", "longest": "shortest"}.get(name, f"{name}-bottom")
    return name + (f"-{config.set}" if config.set else "-mixture" if config.sets else "")


def select(scores: Scores, config: SelectConfig, seed: int) -> Selection:
    """The rows to keep, best rank first; depends on the set of rows only, not on their order.

    A fraction or k gives the same number of rows whatever `by` is, so that random and longest can
    be compared with golden. Raises UserError where the settings are wrong or ask for
    rows that do not exist.
    """
    check_config(config)
    ranking = rank(scores, config, seed)
    row_K = cut(scores, ranking, config)
    cutoff = None if config.by == "random" or config.sets else float(ranking.measure_N[row_K[-1]])
    return Selection(config.name or default_name(config), row_K, cutoff, ranking)


def rank(scores: Scores, config: SelectConfig, seed: int) -> Ranked:
    """The eligible rows, best first. Raises UserError where there are none."""
    if len(scores.example_id) == 0:
        raise UserError(
            "there is no scored candidate to select from: run "
            f"{job_command('score')} with this out_dir first"
        )
    measure_N = _measure(scores, config)
    is_first_N = first_copies(scores) if config.unique else np.ones(len(measure_N), bool)
    is_eligible_N = is_first_N & _is_within_bounds(scores, config)
    if not is_eligible_N.any():
        low, high = scores.num_answer_tokens.min(), scores.num_answer_tokens.max()
        raise UserError(
            f"select.min_answer_tokens={config.min_answer_tokens} and "
            f"select.max_answer_tokens={config.max_answer_tokens} leave no row: answers have {low} "
            f"to {high} tokens"
        )
    return Ranked(
        _rank(scores, measure_N, is_eligible_N, config, seed),
        measure_N,
        is_eligible_N,
        num_copies=int((~is_first_N).sum()),
        num_out_of_bounds=int((is_first_N & ~is_eligible_N).sum()),
    )


def _is_within_bounds(scores: Scores, config: SelectConfig) -> np.ndarray:
    tokens_N = scores.num_answer_tokens
    is_within_N = np.ones(len(tokens_N), bool)
    if config.min_answer_tokens is not None:
        is_within_N &= tokens_N >= config.min_answer_tokens
    if config.max_answer_tokens is not None:
        is_within_N &= tokens_N <= config.max_answer_tokens
    return is_within_N


def cut(scores: Scores, ranking: Ranked, config: SelectConfig) -> np.ndarray:
    """The best rows of a ranking by the rule, best first: (K,). Raises UserError where it asks for
    rows that do not exist, or keeps none.
    """
    ranked_R = ranking.ranked_R
    if config.rule == "threshold":
        return past_threshold(ranking, config)
    if config.rule == "top_tokens":
        return ranked_R[: num_within(scores.num_answer_tokens[ranked_R], config)]
    return ranked_R[: num_wanted(ranking, config)]


def first_copies(scores: Scores) -> np.ndarray:
    """Which rows are the first of their content: (N,) bool.

    Ids of copies end in -2, -3, ..., -10, so that of a content the shortest and then smallest id is
    the first.
    """
    content_id_N = scores.content_id.astype(str)
    length_N = np.strings.str_len(scores.example_id.astype(str))
    order = np.lexsort((scores.example_id.astype(str), length_N, content_id_N))
    ordered = content_id_N[order]
    is_first_N = np.ones(len(order), bool)
    is_first_N[order[1:]] = ordered[1:] != ordered[:-1]
    return is_first_N


def _measure(scores: Scores, config: SelectConfig) -> np.ndarray:
    """What rows are ranked by, (N,): NaN where a row cannot be."""
    if config.by == "random":
        return np.zeros(len(scores.example_id))
    if not is_blend(config.by):
        return _signal(scores, config, config.by)
    weights = weights_of(config.by)
    return blend({name: _order_by(scores, config, name) for name in weights}, weights)


def _order_by(scores: Scores, config: SelectConfig, name: str) -> np.ndarray:
    """What orders rows by a signal, the highest first: of rds the turns, not the cosines."""
    if name == "rds" and scores.rds_turn is not None:
        return -scores.rds_turn
    return _signal(scores, config, name)


def _signal(scores: Scores, config: SelectConfig, name: str) -> np.ndarray:
    if name == "longest":
        return longest(scores.num_answer_tokens)
    if name == "golden_score":
        return scores.sets[config.set].golden_score if config.set else scores.golden_score
    if name == "posterior_score":
        if scores.posterior_score is None:
            raise UserError(
                "select.by=posterior_score: this run has none, as it takes 40 anchors and 100 rows "
                f"that met them all: run {job_command('score')} with this out_dir again, or take "
                "select.by=golden_score"
            )
        return scores.posterior_score
    if name not in scores.signals:
        raise UserError(f"select.by={name}: these rows have none: take select.by=golden_score")
    values_N = scores.signals[name]
    if name in ("ifd", "ifd_perplexity"):
        return np.where(misfits(values_N), np.nan, values_N)
    return values_N


def _rank(
    scores: Scores,
    measure_N: np.ndarray,
    is_eligible_N: np.ndarray,
    config: SelectConfig,
    seed: int,
) -> np.ndarray:
    """Indices of the rows that can be chosen, in rank order."""
    if config.sets:
        ids, order = scores.example_id, config.order
        return rank_mixture(scores.sets, config.sets, ids, is_eligible_N, order)[0]
    ranked = _rank_all(scores, measure_N, config, seed)
    return np.compress(is_eligible_N[ranked], ranked)


def _rank_all(scores: Scores, measure_N: np.ndarray, config: SelectConfig, seed: int) -> np.ndarray:
    """The rows that have what they are ranked by, in rank order."""
    if config.by == "random":
        return random_order(scores.example_id, seed, config.draw)
    if config.set:
        return scores.sets[config.set].rank(scores.example_id, config.order)
    sign = -1.0 if config.order == "top" else 1.0
    order_N = _order_by(scores, config, "rds") if config.by == "rds" else measure_N
    ranked: np.ndarray = np.lexsort((scores.example_id, sign * scores.mean_delta, sign * order_N))
    is_rankable: np.ndarray = ~np.isnan(measure_N)
    return np.compress(is_rankable[ranked], ranked)


def num_wanted(ranking: Ranked, config: SelectConfig) -> int:
    """How many rows top_k or top_fraction keeps. Raises UserError for more than can be chosen."""
    num_eligible, num_ranked = ranking.num_eligible, len(ranking.ranked_R)
    if config.rule == "top_k":
        assert config.k is not None
        num_kept, setting = config.k, f"select.k={config.k}"
    else:
        # As a Fraction of the decimal that was typed: ceil(0.07 * 100) in floats is 8.
        num_kept = max(1, math.ceil(Fraction(str(config.fraction)) * num_eligible))
        setting = f"select.fraction={config.fraction}"
    if num_kept > num_ranked:
        are_such = "are scored" if config.by == "random" else f"have a value of {config.by}"
        if num_ranked == num_eligible or config.by == "golden_score":
            are_such = "are scored" + " on every anchor" * (num_ranked < num_eligible)
        raise UserError(
            f"{setting} asks for {num_kept} rows, but only {num_ranked} {_kind(config)} "
            f"{are_such}: lower it"
        )
    return num_kept


def _kind(config: SelectConfig) -> str:
    """What the rows are that can be chosen, in words."""
    bounds = config.min_answer_tokens is not None or config.max_answer_tokens is not None
    kinds = ("distinct", config.unique), ("eligible", bounds)
    return " ".join([*(word for word, is_meant in kinds if is_meant), "candidates"])


def num_within(num_answer_tokens_K: np.ndarray, config: SelectConfig) -> int:
    """How many rows of the ranking come nearest to select.tokens, at least one."""
    assert config.tokens is not None
    total_K = np.cumsum(num_answer_tokens_K)
    if total_K[-1] < config.tokens:
        raise UserError(
            f"select.tokens={config.tokens} asks for more answer tokens than the {total_K[-1]} of "
            f"the {len(total_K)} {_kind(config)}: lower it"
        )
    return int(np.argmin(np.abs(total_K - config.tokens))) + 1


def past_threshold(ranking: Ranked, config: SelectConfig) -> np.ndarray:
    """The rows past select.min_score, best first. Raises UserError where there are none."""
    ranked, measure_N = ranking.ranked_R, ranking.measure_N
    side, extreme, way_out = {
        "top": ("above", "highest", "lower"),
        "bottom": ("below", "lowest", "raise"),
    }[config.order]
    measure = measure_N[ranked]
    is_past = measure > config.min_score if config.order == "top" else measure < config.min_score
    row_K: np.ndarray = np.compress(is_past, ranked)
    if len(row_K) == 0:
        nearest = f" (the {extreme} is {measure[0]:g})" if len(measure) else ""
        raise UserError(
            f"select.min_score={config.min_score} keeps nothing: no candidate is {side} it"
            f"{nearest}, so {way_out} it"
        )
    return row_K
