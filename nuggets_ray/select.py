"""Which candidates to keep: scores in, the chosen rows in rank order out (numpy only).

Rules: top_fraction keeps ceil(fraction x scored rows), top_k keeps k, top_tokens as many as have
nearest to that many answer tokens, threshold keeps the rows strictly above min_score (below it
under order=bottom). Ranked by golden score, a seeded random draw, or answer length; ties by mean
delta, then example_id. Under unique=true, whatever the ranking, only the first copy of a content is
a row that can be chosen or counts in a fraction.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from nuggets_ray.config.keys import job_command
from nuggets_ray.config.limits import check_limits
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError
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
    where a row has none. `signals`: others by the names of select.by, NaN where a row has none;
    `rds_turn`: at which turn of a round-robin over the anchors each row is taken.
    """

    example_id: np.ndarray
    content_id: np.ndarray
    golden_score: np.ndarray
    mean_delta: np.ndarray
    num_answer_tokens: np.ndarray
    posterior_score: np.ndarray | None = None
    signals: Mapping[str, np.ndarray] = field(default_factory=dict)
    rds_turn: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The kept rows: `row_K` indexes the arrays of Scores, best rank first.

    `cutoff` is the measure (golden score, or answer tokens under by=longest) of the last kept row,
    None under random. `num_copies` counts the scored rows that unique=true left out because their
    content came before. `ranked_R`: all rows that could be chosen, best rank first.
    """

    name: str
    row_K: np.ndarray
    cutoff: float | None
    num_copies: int
    ranked_R: np.ndarray


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
    if config.order == "top":
        return name
    return {"golden": "bottom", "longest": "shortest"}.get(name, f"{name}-bottom")


def select(scores: Scores, config: SelectConfig, seed: int) -> Selection:
    """The rows to keep, best rank first; depends on the set of rows only, not on their order.

    A fraction or k gives the same number of rows whatever `by` is, so that random and longest can
    be compared with golden. Raises UserError where the settings are wrong or ask for
    rows that do not exist.
    """
    check_config(config)
    if len(scores.example_id) == 0:
        raise UserError(
            "there is no scored candidate to select from: run "
            f"{job_command('score')} with this out_dir first"
        )
    measure_N = _measure(scores, config)
    is_offered_N = first_copies(scores) if config.unique else np.ones(len(measure_N), bool)
    num_offered = int(is_offered_N.sum())
    ranked = _rank(scores, measure_N, config, seed)
    ranked = ranked[is_offered_N[ranked]]
    if config.rule == "threshold":
        row_K = _past_threshold(ranked, measure_N, config)
    elif config.rule == "top_tokens":
        row_K = ranked[: _num_within(scores.num_answer_tokens[ranked], config)]
    else:
        row_K = ranked[: _num_kept(num_offered, len(ranked), config)]
    cutoff = None if config.by == "random" else float(measure_N[row_K[-1]])
    name = config.name or default_name(config)
    return Selection(name, row_K, cutoff, len(measure_N) - num_offered, ranked)


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
        return _signal(scores, config.by)
    weights = weights_of(config.by)
    return blend({name: _order_by(scores, name) for name in weights}, weights)


def _order_by(scores: Scores, name: str) -> np.ndarray:
    """What orders rows by a signal, the highest first: of rds the turns, not the cosines."""
    if name == "rds" and scores.rds_turn is not None:
        return -scores.rds_turn
    return _signal(scores, name)


def _signal(scores: Scores, name: str) -> np.ndarray:
    if name == "longest":
        return longest(scores.num_answer_tokens)
    if name == "golden_score":
        return scores.golden_score
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


def _rank(scores: Scores, measure_N: np.ndarray, config: SelectConfig, seed: int) -> np.ndarray:
    """Indices of the rows that can be chosen, in rank order."""
    if config.by == "random":
        return random_order(scores.example_id, seed, config.draw)
    sign = -1.0 if config.order == "top" else 1.0
    order_N = _order_by(scores, "rds") if config.by == "rds" else measure_N
    ranked: np.ndarray = np.lexsort((scores.example_id, sign * scores.mean_delta, sign * order_N))
    is_rankable: np.ndarray = ~np.isnan(measure_N)
    return np.compress(is_rankable[ranked], ranked)


def _num_kept(num_scored: int, num_rankable: int, config: SelectConfig) -> int:
    if config.rule == "top_k":
        assert config.k is not None
        num_kept, setting = config.k, f"select.k={config.k}"
    else:
        # As a Fraction of the decimal that was typed: ceil(0.07 * 100) in floats is 8.
        num_kept = max(1, math.ceil(Fraction(str(config.fraction)) * num_scored))
        setting = f"select.fraction={config.fraction}"
    if num_kept > num_rankable:
        scored = "scored" if num_rankable == num_scored else "scored on every anchor"
        distinct = "distinct candidates" if config.unique else "candidates"
        raise UserError(
            f"{setting} asks for {num_kept} rows, but only {num_rankable} {distinct} are {scored}: "
            "lower it"
        )
    return num_kept


def _num_within(num_answer_tokens_K: np.ndarray, config: SelectConfig) -> int:
    """How many rows of the ranking come nearest to select.tokens, at least one."""
    assert config.tokens is not None
    total_K = np.cumsum(num_answer_tokens_K)
    if total_K[-1] < config.tokens:
        raise UserError(
            f"select.tokens={config.tokens} asks for more answer tokens than the {total_K[-1]} of "
            f"the {len(total_K)} {'distinct ' if config.unique else ''}candidates: lower it"
        )
    return int(np.argmin(np.abs(total_K - config.tokens))) + 1


def _past_threshold(ranked: np.ndarray, measure_N: np.ndarray, config: SelectConfig) -> np.ndarray:
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
