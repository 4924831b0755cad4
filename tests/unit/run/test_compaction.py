"""Merging small parts into few, none of which is large."""

from pathlib import Path

import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.run import compaction
from nuggets_ray.run.compaction import compacted, delete_compacted, is_compact

NUM_BYTES = 80


def table(first: int) -> pa.Table:
    """Ten rows of NUM_BYTES in all."""
    return pa.table({"a": range(first, first + 10)})


def test_no_part_is_larger_than_asked_and_names_keep_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "COMPACT_BYTES", 2 * NUM_BYTES)
    tables = [table(10 * i) for i in range(25)]
    names, merged = zip(*compacted(iter(tables), "try"), strict=True)
    assert list(names) == sorted(names) and names[0] == "compact-try-00000"
    assert [one.nbytes for one in merged] == [2 * NUM_BYTES] * 12 + [NUM_BYTES]
    assert pa.concat_tables(merged) == pa.concat_tables(tables)


def test_a_table_that_is_too_large_alone_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "COMPACT_BYTES", NUM_BYTES // 2)
    assert [one for _, one in compacted([table(0), table(10)], "try")] == [table(0), table(10)]


def test_nothing_is_merged_where_one_compaction_wrote_all() -> None:
    first, second = (f"r/part-compact-20260101-120000-abc123-0000{i}-ff.parquet" for i in (0, 1))
    other = "r/part-compact-20260102-120000-abc124-00000-ff.parquet"
    new = "r/part-20260101-120000-abc123-ff.parquet"
    assert is_compact([]) and is_compact([new]) and is_compact([first, second])
    assert not is_compact([first, new]) and not is_compact([new, new])
    assert not is_compact([first, second, other]), "one of the two was killed"


def test_what_is_written_anew_goes_from_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[str] = []
    monkeypatch.setattr(io, "delete", gone.append)
    delete_compacted(["a", "b", "c"])
    assert gone == ["c", "b", "a"]
