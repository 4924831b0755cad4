"""Many small parts of a table become few, of about COMPACT_BYTES each: fewer would not fit into
memory beside what is computed from them, more are slow to list and open in an object store.

A part that is as large as can be says so in its name, so that one that is compacted already is left
alone.
"""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

COMPACT_BYTES = 2**27
FULL = "compact-full"


def is_compact(parts: Sequence[str]) -> bool:
    """Whether there is nothing to merge among these files."""
    return sum(f"part-{FULL}-" not in part for part in parts) < 2


def compacted(tables: Iterable[pa.Table], attempt_id: str) -> Iterator[tuple[str, pa.Table]]:
    """The rows of all tables, in order, in few tables, each with the name of its writer."""
    held: list[pa.Table] = []
    num_bytes = 0
    for table in tables:
        if held and num_bytes + table.nbytes > COMPACT_BYTES:
            yield f"{FULL}-{attempt_id}", pa.concat_tables(held)
            held, num_bytes = [], 0
        held.append(table)
        num_bytes += table.nbytes
    if held:
        yield f"compact-{attempt_id}", pa.concat_tables(held)
