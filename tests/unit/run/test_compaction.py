"""Merging small parts into few, none of which is large."""

import pyarrow as pa
import pytest

from nuggets_ray.run import compaction
from nuggets_ray.run.compaction import compacted, is_compact

NUM_BYTES = 80


def table(first: int) -> pa.Table:
    """Ten rows of NUM_BYTES in all."""
    return pa.table({"a": range(first, first + 10)})


def test_no_part_is_larger_than_asked_and_all_but_the_last_are_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "COMPACT_BYTES", 2 * NUM_BYTES)
    tables = [table(10 * i) for i in range(5)]
    names, merged = zip(*compacted(iter(tables), "try"), strict=True)
    assert names == ("compact-full-try", "compact-full-try", "compact-try")
    assert [one.nbytes for one in merged] == [2 * NUM_BYTES, 2 * NUM_BYTES, NUM_BYTES]
    assert pa.concat_tables(merged) == pa.concat_tables(tables)


def test_a_table_that_is_too_large_alone_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "COMPACT_BYTES", NUM_BYTES // 2)
    assert [one for _, one in compacted([table(0), table(10)], "try")] == [table(0), table(10)]


def test_nothing_is_merged_where_one_part_at_most_is_not_full() -> None:
    full, small, new = "r/part-compact-full-t-1.parquet", "r/part-compact-t-2.parquet", "r/part-t-3"
    assert is_compact([]) and is_compact([new]) and is_compact([full, full, small])
    assert not is_compact([full, small, new])
