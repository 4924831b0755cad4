"""What a run folder says of its race: who races, how far each row is, and what is still to compute
of the rounds that were decided.

Rows that met every anchor are in scores/, whichever schedule put them there; answers of the blocks
are held in memory, four bytes a pass. Where a row failed it leaves the race.

Legend: N entrants, M anchors, S anchors of an ask.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray.run.lookup import Lookup
from nuggets_ray.run.rounds import Answers, Round, answer_parts, read_part
from nuggets_ray.run.scores import read_scores
from nuggets_ray.schedule.race import RaceSettings
from nuggets_ray.schedule.seen import ALL, Seen, SeenPart


@dataclass(slots=True)
class PartsRead:
    """What was read of rounds/: a part is never written again, so each is read and looked up once.
    `rows` gives a part's entrants, -1 of rows that do not race; `held` the answers of blocks."""

    content_id_N: np.ndarray = field(default_factory=lambda: np.zeros(0, np.str_))
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    held: dict[str, Answers] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Field:
    """The rows that race: `content_id_N`, `self_anchor_N` (the anchor that a row is, else -1), and
    the anchors' zero-shot log-probs (M,) in nats per answer token; `read` goes with them where some
    leave."""

    content_id_N: np.ndarray
    self_anchor_N: np.ndarray
    zero_shot_M: np.ndarray
    read: PartsRead = field(default_factory=PartsRead)
    lookup: Lookup = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lookup", Lookup(self.content_id_N))

    def find(self, content_ids: np.ndarray) -> np.ndarray:
        """Index of each content_id among the entrants, -1 where it does not race."""
        return self.lookup.find(content_ids)

    def delta(self, rows: np.ndarray, anchors: np.ndarray, one_shot_NS: np.ndarray) -> np.ndarray:
        """One-shot less zero-shot, (n, S) float32; NaN where a row is the anchor."""
        delta_NS: np.ndarray = one_shot_NS - self.zero_shot_M[anchors].astype(np.float32)
        delta_NS[self.self_anchor_N[rows][:, None] == anchors] = np.nan
        return delta_NS


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows (indices of entrants) of a round's ask that no part has answered."""

    number: int
    ask: int
    rows: np.ndarray


@dataclass(frozen=True, slots=True)
class RowAnswers:
    """Log-probs `one_shot` (n, S) of `rows` (indices of entrants) on `anchors`, and `tokens` (n, 3)
    of their demonstrations: prompt, answer, dropped."""

    rows: np.ndarray
    anchors: np.ndarray
    one_shot: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True, slots=True)
class Replay:
    """`seen` as schedule.race.plan takes it, and what decided rounds still wait for.

    `is_covered_N`: the row has answers on every anchor, and no row in scores/ yet. `answers` gives
    what the rounds know of rows that are not in scores/, as often as it is called.
    """

    seen: Seen
    waiting: tuple[Waiting, ...]
    is_covered_N: np.ndarray
    answers: Callable[[], Iterable[RowAnswers]]


def race_hashes(content_ids: np.ndarray, seed: int) -> np.ndarray:
    """A seeded hash of every content_id, (N,) uint64: the same whatever other rows are there."""
    start = hashlib.sha256(f"{seed}:race:".encode())
    hashes = np.empty(len(content_ids), np.uint64)
    for index, content_id in enumerate(content_ids):
        digest = start.copy()
        digest.update(content_id.encode())
        hashes[index] = int.from_bytes(digest.digest()[:8], "big")
    return hashes


def replay(out_dir: str, field: Field, rounds: Sequence[Round]) -> Replay:
    """Read how far the race in `out_dir` is."""
    num_rows = len(field.content_id_N)
    stage_N, is_covered_N = np.zeros(num_rows, np.int64), np.zeros(num_rows, bool)
    is_complete_N = np.zeros(num_rows, bool)
    for rows, _ in _complete(out_dir, field, with_log_probs=False):
        is_complete_N[rows] = True
    none = np.zeros(0, np.int64)
    held: list[RowAnswers] = []
    waiting: list[Waiting] = []
    for decided in rounds:
        is_answered_N = is_complete_N.copy()
        _read_new(out_dir, field, decided)
        if decided.target is None:
            for uri in answer_parts(out_dir, decided.number):
                rows = field.read.rows.get(uri, none)
                is_answered_N[rows[rows >= 0]] = True
            is_covered_N |= is_answered_N & ~is_complete_N
        else:
            for answered in _answers(out_dir, field, decided, is_complete_N):
                held.append(answered)
                stage_N[answered.rows] = np.maximum(stage_N[answered.rows], decided.target)
                is_answered_N[answered.rows] = True
        waiting += _waiting(field, decided, is_answered_N)
    stage_N[is_complete_N] = ALL
    blocks = [decided.block for decided in rounds if decided.block is not None]
    every = np.arange(len(field.zero_shot_M))

    def answers() -> Iterator[RowAnswers]:
        yield from held
        if is_covered_N.any():
            for decided in rounds:
                if decided.target is None:
                    yield from _answers(out_dir, field, decided, is_complete_N)

    def parts() -> Iterator[SeenPart]:
        for one in held:
            delta_NS = field.delta(one.rows, one.anchors, one.one_shot)
            yield SeenPart(one.rows, one.anchors, delta_NS)
        for rows, one_shot_NM in _complete(out_dir, field, with_log_probs=True):
            yield SeenPart(rows, every, field.delta(rows, every, one_shot_NM))

    return Replay(Seen(stage_N, blocks, parts), tuple(waiting), is_covered_N, answers)


def spent_barriers(rounds: Sequence[Round], settings: RaceSettings, num_rows: int) -> int:
    """How many barriers this race has behind it: the last rounds that were decided for as many
    rows or more, of as large a field, at no larger a loss. Another race is one of its own."""
    of_other = (not _is_of(decided.report, settings, num_rows) for decided in reversed(rounds))
    return next((spent for spent, is_other in enumerate(of_other) if is_other), len(rounds))


def _is_of(report: Mapping[str, Any], settings: RaceSettings, num_rows: int) -> bool:
    min_score = report.get("min_score")
    if settings.top_k is None:
        is_wide = min_score is not None and min_score <= settings.min_score
    else:
        is_wide = min_score is None and (report.get("top_k") or 0) >= settings.top_k
    is_as_large = report.get("num_candidates", 0) >= num_rows
    return bool(is_wide and is_as_large and report.get("max_loss", 1.0) <= settings.max_loss)


def _read_new(out_dir: str, field: Field, decided: Round) -> None:
    """Read the parts of a round that are not read yet."""
    read = field.read
    if not np.array_equal(read.content_id_N, field.content_id_N):
        moved = np.append(field.find(read.content_id_N), -1)
        read.rows = {uri: moved[rows] for uri, rows in read.rows.items()}
        read.content_id_N = field.content_id_N
    ids: dict[str, np.ndarray] = {}
    for uri in answer_parts(out_dir, decided.number):
        if uri not in read.rows:
            answers = read_part(uri)
            ids[uri] = answers.content_ids
            if decided.target is not None:
                read.held[uri] = replace(answers, content_ids=answers.content_ids[:0])
    if ids:
        rows = field.find(np.concatenate(list(ids.values())))
        ends = np.cumsum([len(some) for some in ids.values()])
        read.rows |= dict(zip(ids, np.split(rows, ends[:-1]), strict=True))


def _answers(
    out_dir: str, field: Field, decided: Round, is_complete_N: np.ndarray
) -> Iterator[RowAnswers]:
    """The answers of a round, of entrants that are not complete, each row once."""
    is_read_N = is_complete_N.copy()
    for uri in answer_parts(out_dir, decided.number):
        if uri not in field.read.rows:
            continue  # written since
        rows, answers = field.read.rows[uri], field.read.held.get(uri) or read_part(uri)
        is_first = np.zeros(len(rows), bool)
        is_first[np.unique(rows, return_index=True)[1]] = True
        is_kept = is_first & (rows >= 0) & ~is_read_N[rows]
        keep = slice(None) if is_kept.all() else is_kept  # no copy of what is held whole
        kept = rows[keep]
        if len(kept):
            is_read_N[kept] = True
            anchors = decided.asks[answers.ask].anchors
            yield RowAnswers(kept, anchors, answers.one_shot_NS[keep], answers.tokens_N3[keep])


def _waiting(field: Field, decided: Round, is_answered_N: np.ndarray) -> Iterator[Waiting]:
    for index, ask in enumerate(decided.asks):
        rows = field.find(ask.content_ids)
        rows = rows[rows >= 0]
        rows = rows[~is_answered_N[rows]]
        if len(rows):
            yield Waiting(decided.number, index, rows)


def _complete(
    out_dir: str, field: Field, with_log_probs: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Entrants that scores/ holds on every anchor, with their log-probs (n, M), each once."""
    columns = ["content_id", "status", *(["one_shot_logprob"] if with_log_probs else [])]
    is_read_N = np.zeros(len(field.content_id_N), bool)
    for table in read_scores(out_dir, columns):
        table = table.filter(pc.equal(table["status"], "complete"))
        rows = field.find(table["content_id"].to_numpy().astype(str))
        _, first = np.unique(rows, return_index=True)
        keep = first[(rows[first] >= 0)]
        keep = keep[~is_read_N[rows[keep]]]
        is_read_N[rows[keep]] = True
        if not len(keep):
            continue
        one_shot = np.zeros((len(keep), 0), np.float32)
        if with_log_probs:
            lists = table["one_shot_logprob"].combine_chunks().take(pa.array(keep))
            one_shot = lists.flatten().to_numpy().reshape(len(keep), -1)
        yield rows[keep], one_shot
