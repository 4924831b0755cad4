"""candidates/ as the driver and the workers read it: ids and places for the one, rows for the
others.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.prepare.commit import SCHEMA
from nuggets_ray.run.candidates import (
    candidate_batches,
    candidate_parts,
    fields_like,
    is_among,
    read_candidate_ids,
    read_candidate_rows,
)


def write(out_dir: str, part: int, contents: list[str], originals: list[Any]) -> None:
    """One part of candidates/; `1-2` is the second copy of content 1."""
    rows = [
        {
            "example_id": example_id,
            "content_id": example_id.partition("-")[0],
            "source_path": "/data/rows.jsonl",
            "row_number": 10 * part + row,
            "row_json": original if isinstance(original, str) else json.dumps(original),
            "num_prompt_tokens": 100 * part + row,
            "num_answer_tokens": 1000,
            "num_dropped_tokens": row,
            "is_duplicate": "-" in example_id,
        }
        for row, (example_id, original) in enumerate(zip(contents, originals, strict=True))
    ]
    uri = io.join(out_dir, "candidates", f"part-try-{part:05d}.parquet")
    io.write_table(uri, pa.Table.from_pylist(rows, schema=SCHEMA))


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    path = str(tmp_path / "run")
    write(path, 1, ["9", "2-2", "1-2"], [{"n": 3}, {"n": 4}, {"n": 5}])
    write(path, 0, ["2", "1", "1-3"], [{"n": 0, "text": "é\n"}, {"n": 1}, {"n": 2}])
    io.write_bytes(io.join(path, "candidates", "_prepared.json"), b"{}")
    return path


def test_ids_are_in_order_of_source_and_row_with_their_places(out_dir: str) -> None:
    ids = read_candidate_ids(out_dir)
    assert ids.parts == tuple(candidate_parts(out_dir)) and len(ids.parts) == 2
    assert len(ids.part_N) == 6
    assert ids.example_id_N.tolist() == ["2", "1", "1-3", "9", "2-2", "1-2"]
    assert ids.content_id_N.tolist() == ["2", "1", "1", "9", "2", "1"]
    assert ids.part_N.tolist() == [0, 0, 0, 1, 1, 1]
    assert ids.row_N.tolist() == [0, 1, 2, 0, 1, 2]
    assert ids.is_duplicate_N.tolist() == [False, False, True, False, True, True]
    assert ids.num_tokens_N.tolist() == [1000, 1001, 1002, 1100, 1101, 1102]
    assert ids.num_dropped_tokens_N.tolist() == [0, 1, 2, 0, 1, 2]


def test_copies_are_the_rows_beyond_the_first(out_dir: str) -> None:
    assert read_candidate_ids(out_dir).copies() == {"1": ["1-3", "1-2"], "2": ["2-2"]}


def test_rows_come_in_the_order_asked_with_the_id_of_their_content(out_dir: str) -> None:
    first, second = candidate_parts(out_dir)
    assert read_candidate_rows(first, [2, 0]) == [("1", {"n": 2}), ("2", {"n": 0, "text": "é\n"})]
    assert read_candidate_rows(second, [1]) == [("2", {"n": 4})]
    assert read_candidate_rows(second, []) == []


def test_every_row_is_found_at_its_place(out_dir: str) -> None:
    ids = read_candidate_ids(out_dir)
    for content_id, part, row in zip(ids.content_id_N, ids.part_N, ids.row_N, strict=True):
        [(found, _)] = read_candidate_rows(ids.parts[part], [int(row)])
        assert found == content_id


@given(st.lists(st.integers(0, 22), max_size=30), st.integers(1, 8))
def test_rows_are_found_whatever_row_groups_they_lie_in(rows: list[int], group_rows: int) -> None:
    table = pa.table(
        {
            "content_id": [f"c{row}" for row in range(23)],
            "row_json": [json.dumps({"n": row}) for row in range(23)],
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        uri = io.join(folder, "part.parquet")
        pq.write_table(table, uri, row_group_size=group_rows)
        assert read_candidate_rows(uri, rows) == [(f"c{row}", {"n": row}) for row in rows]


@pytest.mark.parametrize("ids", [["b", "x"], np.array(["x", "b"]), {"b": "reason"}, [], {}])
def test_ids_are_found_among_others(ids: Any) -> None:
    found = is_among(np.array(["a", "b", "b", "bb"]), ids)
    assert found.dtype == bool and found.shape == (4,)
    assert found.tolist() == [False, "b" in ids, "b" in ids, False]
    assert is_among(np.array([], dtype=str), ids).shape == (0,)


@pytest.mark.parametrize(
    ("original", "found"),
    [
        ({"n": 1}, set()),
        ({"rank": None}, {"rank"}),
        ({"rank": 1, "example_id": "x", "golden": 0}, {"rank", "example_id"}),
        ({"text": 'the "rank" of it', "n": "rank"}, set()),
        ({"text": "rank"}, set()),
        ({"meta": {"rank": 1}}, set()),
        ({"turns": [{"rank": 1}]}, set()),
        ({"meta": {"rank": 1}, "rank": 2}, {"rank"}),
        ({"ranks": 1, "a rank": 2}, set()),
    ],
)
def test_only_a_field_of_the_row_itself_clashes(
    original: Any, found: set[str], out_dir: str
) -> None:
    write(out_dir, 2, ["7", "8"], [{"n": 1}, original])
    assert fields_like(out_dir, ["example_id", "golden_score", "rank"]) == found


def test_a_prefix_is_part_of_the_name(out_dir: str) -> None:
    write(out_dir, 2, ["7", "8", "9"], [{"rank": 1}, {"my.rank": 1}, {"myxrank": 1}])
    assert fields_like(out_dir, ["my.rank"]) == {"my.rank"}
    write(out_dir, 3, ["4", "5"], [{"é_rank": 1}, '{"ü_rank": 1}'])  # written \u00e9_rank, ü_rank
    assert fields_like(out_dir, ["é_rank", "ü_rank", "x_rank"]) == {"é_rank", "ü_rank"}


def test_a_part_with_a_bad_page_is_named(out_dir: str) -> None:
    [uri, *_] = candidate_parts(out_dir)
    content = bytearray(Path(uri).read_bytes())
    content[20:-1200] = b"\xff" * len(content[20:-1200])
    Path(uri).write_bytes(content)
    for read in (
        lambda: read_candidate_rows(uri, [0]),
        lambda: list(candidate_batches(out_dir, ["row_json"])),
    ):
        with pytest.raises(UserError, match=r"\.parquet is damaged"):
            read()
