"""Many small parts of a table become few, of about COMPACT_BYTES each: fewer would not fit into
memory beside what is computed from them, more are slow to list and open in an object store.

A compaction writes all rows anew, in their order, which its names keep. Then the old parts go, the
last one first: a kill between leaves rows twice, but never a later one in front of an earlier one.
"""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from nuggets_ray import io

COMPACT_BYTES = 2**27
"""Of a part in memory, at most, where no table that it is made of is larger."""


def is_compact(parts: Sequence[str]) -> bool:
    """Whether there is nothing to merge among these files: one compaction wrote them all."""
    names = [part.rpartition("/")[2] for part in parts]
    writers = {name.rsplit("-", 2)[0] for name in names}
    return len(parts) < 2 or (len(writers) == 1 and names[0].startswith("part-compact-"))


def compacted(tables: Iterable[pa.Table], attempt_id: str) -> Iterator[tuple[str, pa.Table]]:
    """The rows of all tables, in order, in few tables, each with the name of its writer."""
    for number, table in enumerate(_merged(tables)):
        yield f"compact-{attempt_id}-{number:05}", table


def _merged(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    num_bytes = 0
    for table in tables:
        if held and num_bytes + table.nbytes > COMPACT_BYTES:
            yield pa.concat_tables(held)
            held, num_bytes = [], 0
        held.append(table)
        num_bytes += table.nbytes
    if held:
        yield pa.concat_tables(held)


def delete_compacted(parts: Sequence[str]) -> None:
    """Delete the parts that a compaction has written anew."""
    for part in reversed(parts):
        io.delete(part)
