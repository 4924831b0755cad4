"""From the ranking to the rows that are kept, in this order:

1. eligible: first copies, with answers of the lengths asked for (`rank`);
2. room: how many rows each value of select.per gets, and of those each length of answer
   (select.match_length): a cell is a value with a length;
3. the ranking is walked from the best row down: a row stays where its cell has room, and no better
   row that stays is its near-duplicate (select.max_similarity);
4. select.diversity: the walk goes on to select.pool times the room, and the rows that differ most
   are chosen of those, as many of each cell as it has room.

Where a cell runs out of rows, its room goes to others (`row_quotas`, `spread`) and the walk begins
anew. Without any of these the best rows are kept (`cut`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.config.select_steps import COUNTED, has_steps
from nuggets_ray.curate.cells import CellRoom, Cells, make_cells
from nuggets_ray.curate.diversity import CHOICES, directions
from nuggets_ray.curate.near_duplicates import HashedRows, KeptRows, NearDuplicate, ReadHashes
from nuggets_ray.curate.quotas import Sources
from nuggets_ray.curate.walk import walk
from nuggets_ray.errors import UserError
from nuggets_ray.select import (
    Ranked,
    Scores,
    Selection,
    check_config,
    default_name,
    num_wanted,
    num_within,
    past_threshold,
    rank,
    select,
)

MARGIN = Fraction(11, 10)
"""A guess: how much deeper than what is settled promises a race is told to go."""


@dataclass(frozen=True, slots=True)
class Materials:
    """What the steps take beside the scores; each only where select.* asks for its step.

    `sources`: the values of select.per; `target_lengths`: the answer tokens of the selection that
    is matched; `read_hashes`: see HashedRows; `embed`: rows -> their vectors (rows, D);
    `num_settled`: how many of the best distinct rows a race settled, None where every row has its
    measure.
    """

    sources: Sources | None = None
    target_lengths: np.ndarray | None = None
    read_hashes: ReadHashes | None = None
    embed: Callable[[np.ndarray], np.ndarray] | None = None
    num_settled: int | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """What a value of select.per was to get and got, of the eligible rows that have it."""

    value: str
    num_eligible: int
    num_wanted: int
    num_kept: int


@dataclass(frozen=True, slots=True)
class Matched:
    """Answer tokens in the mean, of the selection that is matched and of the rows that are kept;
    `num_moved` of these are of another length than was asked for, as there are none of that.
    """

    mean_wanted: float
    mean_kept: float
    num_moved: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """A selection, and what the steps did.

    `num_wanted` rows were asked for (None: a threshold, or tokens); `quotas` are those of
    select.per; `num_pool` rows diversity chose from; `matched` is None without match_length.
    """

    selection: Selection
    num_wanted: int | None = None
    quotas: tuple[Quota, ...] = ()
    near_duplicates: tuple[NearDuplicate, ...] = ()
    num_pool: int | None = None
    matched: Matched | None = None


@dataclass(frozen=True, slots=True)
class _Given:
    """What every step works on; `ranked_R` are the rows of the ranking that a race settled, all
    without one."""

    scores: Scores
    config: SelectConfig
    materials: Materials
    ranking: Ranked
    ranked_R: np.ndarray
    hashed: HashedRows | None

    def kept(self) -> KeptRows | None:
        """Nothing kept yet."""
        if self.hashed is None or self.config.max_similarity is None:
            return None
        return KeptRows(self.hashed, self.config.max_similarity)


def choose(scores: Scores, config: SelectConfig, seed: int, materials: Materials) -> Chosen:
    """The rows to keep. Raises UserError where the settings are wrong, ask for rows that do not
    exist, or go past what a race settled.
    """
    if not has_steps(config):
        return Chosen(select(scores, config, seed))
    check_config(config)
    ranking = rank(scores, config, seed)
    ranked_R = ranking.ranked_R
    if materials.num_settled is not None:
        ranked_R = ranked_R[_is_settled(scores, config, seed, materials.num_settled)[ranked_R]]
    read = materials.read_hashes
    hashed = None if read is None else HashedRows(read)
    given = _Given(scores, config, materials, ranking, ranked_R, hashed)
    if config.rule in COUNTED:
        return _counted(given)
    return _until_threshold(given) if config.rule == "threshold" else _until_tokens(given)


def _is_settled(scores: Scores, config: SelectConfig, seed: int, num: int) -> np.ndarray:
    """Which rows are among the best `num` distinct ones, eligible or not: (N,) bool."""
    whole = rank(scores, replace(config, min_answer_tokens=None, max_answer_tokens=None), seed)
    content_N = scores.content_id.astype(str)
    ranked_contents = content_N[whole.ranked_R]
    _, first = np.unique(ranked_contents, return_index=True)
    return np.isin(content_N, ranked_contents[np.sort(first)[:num]])


def _selection(given: _Given, row_K: np.ndarray) -> Selection:
    name = given.config.name or default_name(given.config)
    return Selection(name, row_K, None, given.ranking)


def _until_threshold(given: _Given) -> Chosen:
    past = past_threshold(given.ranking, given.config)
    kept = given.kept()
    one_cell_N = np.zeros(len(given.scores.example_id), np.int64)
    row_K = walk(past, one_cell_N, np.array([len(past)]), kept)
    dropped = tuple(kept.dropped) if kept is not None else ()
    return Chosen(_selection(given, row_K), near_duplicates=dropped)


def _until_tokens(given: _Given) -> Chosen:
    tokens_N, wanted = given.scores.num_answer_tokens, given.config.tokens
    assert wanted is not None
    one_cell_N = np.zeros(len(tokens_N), np.int64)
    num_rows = num_within(tokens_N[given.ranking.ranked_R], given.config)
    while True:
        kept = given.kept()
        row_K = walk(given.ranked_R, one_cell_N, np.array([num_rows]), kept)
        num_tokens = int(tokens_N[row_K].sum())
        if num_tokens >= wanted or len(row_K) < num_rows:
            break
        num_rows += num_rows // 4 + 1
    if num_tokens >= wanted:
        row_K = row_K[: num_within(tokens_N[row_K], given.config)]
    elif len(given.ranked_R) < given.ranking.num_eligible:
        raise _not_settled(given, _deeper(given, Fraction(wanted, max(1, num_tokens))))
    dropped = tuple(kept.dropped) if kept is not None else ()
    return Chosen(_selection(given, row_K), near_duplicates=dropped)


def _counted(given: _Given) -> Chosen:
    scores, config, ranking = given.scores, given.config, given.ranking
    num = num_wanted(ranking, config)
    materials = given.materials
    cells = make_cells(scores, ranking.is_eligible_N, materials.sources, materials.target_lengths)
    eligible_C = cells.count(np.flatnonzero(ranking.is_eligible_N))
    row_P, room, kept = _fill(given, cells, num, eligible_C)
    row_K, num_pool = row_P, None
    if config.diversity != "none":
        assert materials.embed is not None
        vectors = directions(materials.embed(row_P))
        places = CHOICES[config.diversity](vectors, cells.cell_N[row_P], room.room_C)
        row_K, num_pool = row_P[np.sort(places)], len(row_P)
    quotas: tuple[Quota, ...] = ()
    if config.per is not None:
        quotas = _quotas(cells, config, num, eligible_C, cells.count(row_K))
    matched = None
    if materials.target_lengths is not None:
        mean_wanted = float(materials.target_lengths.mean())
        mean_kept = float(scores.num_answer_tokens[row_K].mean())
        matched = Matched(mean_wanted, mean_kept, room.num_moved)
    dropped = tuple(kept.dropped) if kept is not None else ()
    return Chosen(_selection(given, row_K), num, quotas, dropped, num_pool, matched)


def _quotas(
    cells: Cells, config: SelectConfig, num: int, eligible_C: np.ndarray, kept_C: np.ndarray
) -> tuple[Quota, ...]:
    """What each value was to get, had it the rows, and got."""
    enough_C = np.full(cells.num_cells, num)
    wanted_G = cells.room(config, num, eligible_C, enough_C).quota_G
    columns = (cells.groups(eligible_C), wanted_G, cells.groups(kept_C))
    rows = zip(cells.values, *(column.tolist() for column in columns), strict=True)
    return tuple(Quota(value, *numbers) for value, *numbers in rows)


def _fill(
    given: _Given, cells: Cells, num: int, eligible_C: np.ndarray
) -> tuple[np.ndarray, CellRoom, KeptRows | None]:
    """The rows of the walk, for diversity those of its pool, and the room of each cell."""
    config, is_raced = given.config, given.materials.num_settled is not None
    pool = Fraction(str(config.pool)) if config.diversity != "none" else Fraction(1)
    there_C = cells.count(given.ranked_R)
    # what a race left behind is there to choose from, once it is scored
    available_C = eligible_C.copy() if is_raced else there_C.copy()
    while True:
        room = cells.room(config, num, eligible_C, available_C)
        wanted_C = np.array([math.ceil(pool * int(rows)) for rows in room.room_C])
        wanted_C = np.minimum(wanted_C, available_C)
        kept = given.kept()
        rows = walk(given.ranked_R, cells.cell_N, wanted_C, kept)
        got_C = cells.count(rows)
        is_behind_C = (got_C < wanted_C) & (there_C < available_C)
        if is_raced and is_behind_C.any():
            behind = zip(wanted_C[is_behind_C].tolist(), got_C[is_behind_C].tolist(), strict=True)
            factor = max(Fraction(wanted, max(got, 1)) for wanted, got in behind)
            is_none = (got_C[is_behind_C] == 0).any()
            raise _not_settled(given, None if is_none else _deeper(given, factor))
        is_short_C = got_C < room.room_C
        if not is_short_C.any():
            return rows, room, kept
        available_C[is_short_C] = got_C[is_short_C]


def _deeper(given: _Given, factor: Fraction) -> int:
    """How many rows a race should settle, if `factor` times as many come out of it."""
    assert given.materials.num_settled is not None
    return math.ceil(given.materials.num_settled * max(factor, Fraction(1)) * MARGIN)


def _not_settled(given: _Given, top_k: int | None) -> UserError:
    """`top_k`: the rows that a race should settle; None where that cannot be told."""
    num_distinct = len(np.unique(given.scores.content_id.astype(str)))
    way_out = f"schedule=race and race.top_k={top_k}"
    if top_k is None or top_k >= num_distinct:
        way_out = "schedule=full"
    steps = [
        f"select.{key}={getattr(given.config, key)}"
        for key in ("per", "match_length", "max_similarity", "diversity")
        if getattr(given.config, key) not in (None, "none")
    ]
    return UserError(
        f"{', '.join(steps)}: this goes further down the ranking than the best "
        f"{given.materials.num_settled} rows, which the race settled: run {job_command('score')} "
        f"with this out_dir and {way_out}, which goes on from where it ended, or take fewer rows"
    )
