"""Run folders as scoring leaves them, made up: finished, going on, dead in compaction."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.scores import SCORE_SCHEMA
from nuggets_ray.run.select import select_candidates
from nuggets_ray.run.selections import begin_record

TOP_4 = SelectConfig(rule="top_k", k=4)


def source_row(number: int) -> dict[str, Any]:
    """A row whose fields have an order, a nesting and numbers of their own."""
    turns = [{"from": "human", "value": f"vraag {number} é"}, {"value": "ja", "from": "gpt"}]
    return {"z": number / 8, "conversations": turns, "mixed": number if number % 2 else f"{number}"}


def write_candidates(out_dir: str, part: int, numbers: Sequence[int], **fields: Any) -> None:
    """One part of candidates/: content `c<n>`, twice where the number comes twice."""
    seen: dict[int, int] = {}
    rows = []
    for number in numbers:
        seen[number] = copy = seen.get(number, 0) + 1
        rows.append(
            {
                "example_id": f"c{number:02d}" if copy == 1 else f"c{number:02d}-{copy}",
                "content_id": f"c{number:02d}",
                "source_path": "/data/rows.jsonl",
                "row_number": number + 100 * (copy - 1),
                "row_json": json.dumps(source_row(number) | fields | {"copy": copy}),
                "num_answer_tokens": 100 - number,
            }
        )
    uri = io.join(RunFolder(out_dir).candidates, f"part-{part:05d}.parquet")
    io.write_table(uri, pa.Table.from_pylist(rows))


def write_scores(out_dir: str, part: int, numbers: Sequence[int]) -> None:
    """One part of scores/: the golden score of content `c<n>` is n / 20."""
    rows = [
        {
            "example_id": f"c{number:02d}",
            "content_id": f"c{number:02d}",
            "golden_score": number / 20,
            "num_wins": number,
            "num_anchors": 20,
            "mean_delta": number / 100,
            "num_answer_tokens": 100 - number,
            "one_shot_logprob": [-1.0] * 20,
        }
        for number in numbers
    ]
    uri = io.join(RunFolder(out_dir).scores, f"part-attempt-{part}.parquet")
    io.write_table(uri, pa.Table.from_pylist(rows, schema=SCORE_SCHEMA))


def write_skipped(out_dir: str, numbers: Sequence[int]) -> None:
    rows = [
        {"source_path": "/data/rows.jsonl", "row_number": number, "reason": "x", "excerpt": ""}
        for number in numbers
    ]
    io.write_table(RunFolder(out_dir).skipped, pa.Table.from_pylist(rows))


def finished_run(path: str) -> str:
    """A finished run of 20 candidates in three parts, 12 of them copied once."""
    write_candidates(path, 0, range(10))
    write_candidates(path, 1, [*range(10, 20), 12])
    write_scores(path, 0, range(5, 20))
    write_scores(path, 1, range(5))
    return path


def choose(out_dir: str, select: SelectConfig = TOP_4) -> tuple[dict[str, Any], list[Any]]:
    result = select_candidates(Config(out_dir=out_dir, select=select))
    text = io.read_bytes(result["wrote"][0]).decode()
    return result, [json.loads(line) for line in text.splitlines()]


def begin(out_dir: str, model: str, selection: str) -> dict[str, Any]:
    """What a training on a selection writes down before its first step."""
    folder = RunFolder(out_dir).training(model).path
    record = begin_record(out_dir, folder, selection, is_begun=False)
    assert record is not None
    return record
