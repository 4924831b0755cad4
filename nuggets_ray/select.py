"""Which candidates to keep: scores in, the chosen rows in rank order out (numpy only).

Rules: top_fraction keeps ceil(fraction x scored rows), top_k keeps k, top_tokens as many as have
nearest to that many answer tokens, threshold keeps the rows strictly above min_score (below it
under order=bottom). Ranked by golden score, a seeded random draw, or answer length; ties by mean
delta, then example_id. Under unique=true, whatever the ranking, only the first copy of a content is
a row that can be chosen or counts in a fraction.
"""

import hashlib
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
from nuggets_ray.errors import UserError
from nuggets_ray.mixture import SetScores, rank_mixture

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
    where a row has none. `sets`: the scores by those anchor sets that are asked for.
    """

    example_id: np.ndarray
    content_id: np.ndarray
    golden_score: np.ndarray
    mean_delta: np.ndarray
    num_answer_tokens: np.ndarray
    posterior_score: np.ndarray | None = None
    sets: Mapping[str, SetScores] = dataclass_field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selection:
    """The kept rows: `row_K` indexes the arrays of Scores, best rank first.

    `cutoff` is the measure (golden score, or answer tokens under by=longest) of the last kept row,
    None under random and of a mixture. `num_copies` counts the scored rows that unique=true left
    out because their content came before. `ranked_R`: all rows that could be chosen, best rank
    first.
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
    for rule, field in RULES.items():
        value = getattr(config, field)
        if rule == config.rule and value is None:
            raise UserError(f"select.rule={rule} needs select.{field}: set it")
        if rule != config.rule and value is not None:
            raise UserError(
                f"select.{field}={value} is not used by select.rule={config.rule}: "
                f"choose it with select={rule}, or leave select.{field} out"
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
    _check_sets(config)
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


def _check_sets(config: SelectConfig) -> None:
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
    names = {
        "golden_score": ("golden", "bottom"),
        "posterior_score": ("posterior", "posterior-bottom"),
        "longest": ("longest", "shortest"),
    }
    of_top, of_bottom = names[config.by]
    of_set = f"-{config.set}" if config.set else "-mixture" if config.sets else ""
    return (of_top if config.order == "top" else of_bottom) + of_set


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
    ranked = _rank(scores, measure_N, is_offered_N, config, seed)
    if config.rule == "threshold":
        row_K = _past_threshold(ranked, measure_N, config)
    elif config.rule == "top_tokens":
        row_K = ranked[: _num_within(scores.num_answer_tokens[ranked], config)]
    else:
        row_K = ranked[: _num_kept(num_offered, len(ranked), config)]
    cutoff = None if config.by == "random" or config.sets else float(measure_N[row_K[-1]])
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
    if config.by == "longest":
        return scores.num_answer_tokens.astype(np.float64)
    if config.by == "golden_score":
        return scores.sets[config.set].golden_score if config.set else scores.golden_score
    if config.by == "posterior_score":
        if scores.posterior_score is None:
            raise UserError(
                "select.by=posterior_score: this run has none, as it takes 40 anchors and 100 rows "
                f"that met them all: run {job_command('score')} with this out_dir again, or take "
                "select.by=golden_score"
            )
        return scores.posterior_score
    return np.zeros(len(scores.example_id))


def _rank(
    scores: Scores,
    measure_N: np.ndarray,
    is_offered_N: np.ndarray,
    config: SelectConfig,
    seed: int,
) -> np.ndarray:
    """Indices of the rows that can be chosen, in rank order."""
    if config.sets:
        ids, order = scores.example_id, config.order
        return rank_mixture(scores.sets, config.sets, ids, is_offered_N, order)[0]
    ranked = _rank_all(scores, measure_N, config, seed)
    return np.compress(is_offered_N[ranked], ranked)


def _rank_all(scores: Scores, measure_N: np.ndarray, config: SelectConfig, seed: int) -> np.ndarray:
    """The rows that have what they are ranked by, in rank order."""
    if config.by == "random":
        # hashed a row, so that its draw is the same whatever other rows are there
        start = f"{seed}:random-{config.draw}:".encode()
        digests = [hashlib.sha256(start + id.encode()).hexdigest() for id in scores.example_id]
        return np.argsort(np.array(digests, dtype="S64"))
    if config.set:
        return scores.sets[config.set].rank(scores.example_id, config.order)
    sign = -1.0 if config.order == "top" else 1.0
    ranked: np.ndarray = np.lexsort((scores.example_id, sign * scores.mean_delta, sign * measure_N))
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
