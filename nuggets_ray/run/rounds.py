"""The rounds of a race: rounds/NUMBER/ holds what was decided (plan.json, plan.parquet) and the
answers (part-*.parquet).

A plan that stands is never made again: what it rests on moves in its last digits with threads and
packing. Workers write each block of answers as one part, atomically; so a kill loses only blocks in
flight, and who goes on asks for what no part holds.

Legend: n rows, S anchors of an ask.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.run.layout import AddedFolder, RoundFolder, RunFolder

ROWS_SCHEMA = pa.schema(
    [
        ("content_id", pa.string()),
        ("ask", pa.int16()),
        ("forecast_wins", pa.float32()),
        ("forecast_spread", pa.float32()),
    ]
)
ANSWERS_SCHEMA = pa.schema(
    [
        ("content_id", pa.string()),
        ("ask", pa.int16()),
        ("num_prompt_tokens", pa.int32()),
        ("num_answer_tokens", pa.int32()),
        ("num_dropped_tokens", pa.int32()),
        ("one_shot_logprob", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True, slots=True)
class RoundAsk:
    """Rows (content_ids) and the anchors (indices, in this order) that they are to meet. Where they
    are completed by it, `forecast_n2`: mean and standard deviation of their final wins as the plan
    saw them."""

    content_ids: np.ndarray
    anchors: np.ndarray
    forecast_n2: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """A decided round. `target` is how many blocks its rows have met afterwards, None where they
    have met every anchor; `block` the anchors that it adds to the blocks, in order; `report` what
    the decision rests on, for people."""

    number: int
    asks: tuple[RoundAsk, ...]
    target: int | None
    block: np.ndarray | None
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """A row's log-probs (S,) on the anchors of an ask, in nats per answer token, and the tokens of
    its demonstration."""

    content_id: str
    num_prompt_tokens: int
    num_answer_tokens: int
    num_dropped_tokens: int
    one_shot_logprob: np.ndarray


@dataclass(frozen=True, slots=True)
class Answers:
    """Part of a round's answers: `one_shot_NS` float32 of the rows of one ask, and the tokens of
    their demonstrations, (n, 3): prompt, answer, dropped."""

    ask: int
    content_ids: np.ndarray
    one_shot_NS: np.ndarray
    tokens_N3: np.ndarray


def write_round(out_dir: str, decided: Round) -> None:
    """Record a decision; the round counts once this returns."""
    folder = RunFolder(out_dir).round(decided.number)
    ids = [ask.content_ids for ask in decided.asks]
    index = [np.full(len(some), number, np.int16) for number, some in enumerate(ids)]
    unknown = [np.full((len(ask.content_ids), 2), np.nan, np.float32) for ask in decided.asks]
    forecasts = [
        none if ask.forecast_n2 is None else ask.forecast_n2.astype(np.float32)
        for ask, none in zip(decided.asks, unknown, strict=True)
    ]
    wins_n, spread_n = np.concatenate(forecasts).T
    columns = {
        "content_id": np.concatenate(ids),
        "ask": np.concatenate(index),
        "forecast_wins": pa.array(wins_n, from_pandas=True),  # NaN becomes null
        "forecast_spread": pa.array(spread_n, from_pandas=True),
    }
    io.write_table(folder.rows, pa.table(columns, schema=ROWS_SCHEMA))
    block = decided.block
    io.write_json(
        folder.plan,
        {
            "number": decided.number,
            "asks": [ask.anchors.tolist() for ask in decided.asks],
            "target": decided.target,
            "block": None if block is None else block.tolist(),
            "report": dict(decided.report),
        },
    )


def read_rounds(out_dir: str) -> list[Round]:
    """All rounds that were decided, in order."""
    folder = RunFolder(out_dir)
    numbers = sorted(int(name) for name in io.list_folders(folder.rounds) if name.isdigit())
    return [_read_round(out_dir, n) for n in numbers if io.exists(folder.round(n).plan)]


def _read_round(out_dir: str, number: int) -> Round:
    folder = RunFolder(out_dir).round(number)
    plan = io.read_json(folder.plan)
    table = io.read_table(folder.rows)
    ids_N = table["content_id"].to_numpy().astype(str)
    ask_N = table["ask"].to_numpy()
    forecast_N2 = _forecasts(table)
    asks = tuple(
        RoundAsk(ids_N[is_of_N], np.array(anchors, np.int64), _known(forecast_N2[is_of_N]))
        for index, anchors in enumerate(plan["asks"])
        for is_of_N in [ask_N == index]
    )
    block = None if plan["block"] is None else np.array(plan["block"], np.int64)
    return Round(number, asks, plan["target"], block, plan["report"])


def _forecasts(table: pa.Table) -> np.ndarray:
    """(N, 2), NaN where there is none: before it was written down, or of rows that go on."""
    if "forecast_wins" not in table.column_names:
        return np.full((table.num_rows, 2), np.nan, np.float32)
    names = ("forecast_wins", "forecast_spread")
    return np.stack([table[name].to_numpy() for name in names], axis=1)


def _known(forecast_n2: np.ndarray) -> np.ndarray | None:
    return None if np.isnan(forecast_n2).any() or not len(forecast_n2) else forecast_n2


def write_answers(
    out_dir: str, number: int | None, attempt_id: str, ask: int, rows: Sequence[AnsweredRow]
) -> None:
    """Write one finished block of an ask; `number` None: of anchors that are being added."""
    columns: dict[str, Any] = {
        name: [getattr(row, name) for row in rows] for name in ANSWERS_SCHEMA.names if name != "ask"
    }
    columns["ask"] = [ask] * len(rows)
    table = pa.table({name: columns[name] for name in ANSWERS_SCHEMA.names}, schema=ANSWERS_SCHEMA)
    name = f"{attempt_id}-{uuid.uuid4().hex[:12]}"
    io.write_table(_folder(out_dir, number).part(name), table)


def read_answers(out_dir: str, number: int | None) -> Iterator[Answers]:
    """The answers of a round, or of anchors that are being added, a part at a time; a row may come
    twice."""
    for uri in answer_parts(out_dir, number):
        yield read_part(uri)


def answer_parts(out_dir: str, number: int | None) -> list[str]:
    """The parts of a round's answers so far; a part is never written again."""
    uris = io.list_files(_folder(out_dir, number).path, ".parquet")
    return [uri for uri in uris if uri.rpartition("/")[2].startswith("part-")]


def read_part(uri: str) -> Answers:
    table = io.read_table(uri)
    one_shot = table["one_shot_logprob"].combine_chunks()
    tokens = [table[name].to_numpy() for name in ANSWERS_SCHEMA.names[2:5]]
    return Answers(
        ask=table["ask"][0].as_py(),
        content_ids=table["content_id"].to_numpy().astype(str),
        one_shot_NS=one_shot.flatten().to_numpy().reshape(table.num_rows, -1),
        tokens_N3=np.stack(tokens, axis=1),
    )


def _folder(out_dir: str, number: int | None) -> RoundFolder | AddedFolder:
    folder = RunFolder(out_dir)
    return folder.added if number is None else folder.round(number)


def pilot_ids(out_dir: str) -> np.ndarray | None:
    """The content_ids that a race drew at random to meet every anchor: of all complete rows the
    only ones that stand for all. None where no race was run."""
    pilots = (one for one in read_rounds(out_dir) if one.report.get("phase") == "pilot")
    asks = [ask for decided in pilots for ask in decided.asks]
    return np.concatenate([ask.content_ids for ask in asks]) if asks else None


def settled_k(manifest: Mapping[str, Any]) -> int | None:
    """The K that the run's last race settled; None where none was run, or it fell back to full."""
    top_k = manifest.get("race", {}).get("top_k")
    return None if top_k is None else int(top_k)


def settled_score(manifest: Mapping[str, Any]) -> float | None:
    """The golden score above which the run's last race settled every row; None where it was for a
    number of rows."""
    min_score = manifest.get("race", {}).get("min_score")
    return None if min_score is None else float(min_score)
