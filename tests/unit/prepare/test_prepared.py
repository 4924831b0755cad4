"""What is decided between reading and writing: the ids of all rows, what is wrong, the key."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.config.schema import Config, DataConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.data.examples import Rules as ReadAs
from nuggets_ray.data.inputs import InputFile
from nuggets_ray.errors import UserError
from nuggets_ray.prepare import prepared as module
from nuggets_ray.prepare.prepared import Rows, check_rows, held_out, prepare_key, read_staged
from nuggets_ray.prepare.staging import STAGED_SCHEMA
from nuggets_ray.run.layout import RunFolder

CONFIG = Config("out", data=DataConfig("rows.jsonl", max_skipped_fraction=0.5))
FILES = [InputFile("a.jsonl", 10, "jsonl", False, 1), InputFile("b.jsonl", 20, "jsonl", False, 2)]


def key(config: Config = CONFIG, files: list[InputFile] = FILES, prompt: str = "p") -> str:
    return prepare_key(files, config.data, prompt, config.seed)


def check(rows: Rows, **data: Any) -> None:
    paths = ["a.jsonl", "b.jsonl"]
    check_rows(rows, replace(CONFIG.data, **data), paths, "alpaca", lambda: "data.roles={a: user}")


def draw(config: Config, rows: Rows) -> tuple[list[bytes], bool]:
    contents, is_new = held_out(
        rows, config.out_dir, config.data.holdout, config.seed, ReadAs("alpaca", {})
    )
    return contents.tolist(), is_new


def write_block(folder: Path, rows: list[tuple[int, int, str | None, str | None]]) -> str:
    """A staged block of (file, row, reason, content_id)."""
    uri = str(folder / f"{rows[0][0]:08d}-{rows[0][1]:012d}.parquet")
    columns = [[row[i] for row in rows] for i in range(3)]
    excerpts = [None if reason is None else f"bad{row}" for _, row, reason, _ in rows]
    details = [None if reason is None else "null at turn 2" for _, _, reason, _ in rows]
    rest = [[None] * len(rows)] * 4
    ids = [content_id for *_, content_id in rows]
    arrays = [*columns, details, excerpts, ids, *rest]
    fields = zip(arrays, STAGED_SCHEMA, strict=True)
    typed = [pa.array(values, field.type) for values, field in fields]
    io.write_table(uri, pa.Table.from_arrays(typed, schema=STAGED_SCHEMA))
    return uri


@pytest.fixture
def uris(tmp_path: Path) -> list[str]:
    """Five rows in three blocks of two files; contents a, b, a, and a bad row in each file."""
    return [
        write_block(tmp_path, [(0, 0, None, "a"), (0, 1, "empty_answer", None)]),
        write_block(tmp_path, [(0, 2, None, "b")]),
        write_block(tmp_path, [(1, 0, "invalid_json", None), (1, 1, None, "a")]),
    ]


def test_rows_are_in_order_whatever_order_the_blocks_come_in(uris: list[str]) -> None:
    rows = read_staged(uris[::-1], None)
    assert rows.blocks == ((uris[0], 0, 2), (uris[1], 2, 3), (uris[2], 3, 5))
    assert rows.file_index_N.tolist() == [0, 0, 0, 1, 1]
    assert rows.reason_N.tolist() == [None, "empty_answer", None, "invalid_json", None]
    assert rows.content_id_N.tolist() == [b"a", b"", b"b", b"", b"a"]
    assert rows.copy_N.tolist() == [1, 0, 1, 0, 2]


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 5, 9])
def test_a_limit_takes_the_first_rows(uris: list[str], limit: int) -> None:
    rows, whole = read_staged(uris, limit), read_staged(uris, None)
    assert len(rows.copy_N) == min(limit, 5)
    assert rows.reason_N.tolist() == whole.reason_N.tolist()[:limit]
    assert sum(stop - start for _, start, stop in rows.blocks) == min(limit, 5)


def test_a_block_that_is_missing_or_there_twice_is_noticed(uris: list[str]) -> None:
    with pytest.raises(RuntimeError, match="do not follow on each other at row 2 of file 0"):
        read_staged(uris[1:], None)
    with pytest.raises(RuntimeError, match="do not follow on each other"):
        read_staged([*uris, uris[0]], None)


def test_bad_rows_are_shown_where_they_stand(uris: list[str]) -> None:
    rows = read_staged(uris, None)
    check(rows)
    with pytest.raises(UserError) as error:
        check(rows, max_skipped_fraction=0.3)
    sentence = str(error.value)
    assert "data.path=rows.jsonl: 2 of 5 rows cannot be used" in sentence
    assert "1 empty_answer, such as null at turn 2 in row 1 of a.jsonl bad1" in sentence
    assert "1 invalid_json, such as null at turn 2 in row 0 of b.jsonl bad0" in sentence
    assert "read as alpaca): mend them, or set data.roles={a: user}" in sentence
    assert "or raise data.max_skipped_fraction=0.3" in sentence


def test_only_bad_rows_are_no_data_whatever_the_limit(tmp_path: Path) -> None:
    rows = read_staged([write_block(tmp_path, [(0, 0, "empty_answer", None)])], None)
    with pytest.raises(UserError, match="1 of 1 rows cannot be used") as error:
        check(rows, max_skipped_fraction=1.0)
    assert "max_skipped_fraction" not in str(error.value), "raising it would not help"
    with pytest.raises(UserError, match="data.path=rows.jsonl holds no rows"):
        check(read_staged([], None))


def test_the_key_is_what_decides_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = [
        key(files=FILES[:1]),
        key(files=[FILES[0], replace(FILES[1], modified_ns=3)]),
        key(files=FILES[::-1]),
        key(prompt="another"),
        key(replace(CONFIG, seed=1)),
        key(replace(CONFIG, data=replace(CONFIG.data, limit=3))),
        key(replace(CONFIG, data=replace(CONFIG.data, holdout=3))),
    ]
    assert len({key(), *changed}) == len(changed) + 1
    same = [
        key(replace(CONFIG, out_dir="elsewhere", progress_s=1.0)),
        key(replace(CONFIG, data=replace(CONFIG.data, retry=[]))),
    ]
    assert {key(), *same} == {key()}
    before = key()
    monkeypatch.setattr(module, "PREPARE_VERSION", module.PREPARE_VERSION + 1)
    assert key() != before


def test_the_hold_out_is_drawn_once_in_the_life_of_a_folder(
    uris: list[str], tmp_path: Path
) -> None:
    rows = read_staged(uris, None)
    config = replace(CONFIG, out_dir=str(tmp_path / "run"), data=DataConfig(holdout=1))
    [drawn], is_new = draw(config, rows)
    assert is_new and drawn in (b"a", b"b")
    other = "b" if drawn == b"a" else "a"
    held = pa.table({"content_id": [other], "row_json": ["no row any more"]})
    io.write_table(RunFolder(config.out_dir).held_out, held)
    assert draw(config, rows) == ([other.encode()], False)
    assert draw(replace(config, seed=9), rows) == ([other.encode()], False)
    with pytest.raises(UserError, match="data.holdout=0: .*drawn with data.holdout=1"):
        draw(replace(config, data=DataConfig(holdout=0)), rows)


def test_a_hold_out_of_former_ids_is_found_among_the_rows_of_now(tmp_path: Path) -> None:
    row = {"instruction": "Go on.", "output": "    return 1"}
    now = Rules("alpaca").parse(row).content_id
    block = write_block(tmp_path, [(0, 0, None, "a" * 32), (0, 1, None, now)])
    config = replace(CONFIG, out_dir=str(tmp_path / "run"), data=DataConfig(holdout=1))
    held = pa.table({"content_id": ["f" * 32], "row_json": [json.dumps(row)]})
    io.write_table(RunFolder(config.out_dir).held_out, held)
    assert draw(config, read_staged([block], None)) == ([now.encode()], False)


def test_without_a_hold_out_nothing_is_drawn(uris: list[str], tmp_path: Path) -> None:
    config = replace(CONFIG, out_dir=str(tmp_path / "run"))
    assert draw(config, read_staged(uris, None)) == ([], True)
