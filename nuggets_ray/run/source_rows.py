"""Candidates as the typed rows of the tables they came from: what row_json cannot hold.

A parquet or Arrow file has types (timestamps, decimals, bytes, 32-bit numbers, dictionaries) that
JSON lacks, so the rows are read from it once more. Each must still be the row that was scored.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.data.file_choice import kind_of
from nuggets_ray.data.rows import batch_texts
from nuggets_ray.data.table_files import TABLES
from nuggets_ray.run.candidates import candidate_parts

logger = logging.getLogger(__name__)

KEPT_METADATA = b"huggingface"
"""What `datasets` notes of its features in a schema; notes of others tell of columns and an index
that are not those of the selection.
"""


def read_source_table(
    out_dir: str, example_ids: np.ndarray, rows: Sequence[bytes]
) -> pa.Table | None:
    """The candidates of these ids, in the order given, with the types of their source; `rows` are
    their row_json.

    None where the sources are no tables, and, with a warning, where only some are, one is gone or
    has other rows now, or the types of several do not go together.
    """
    places = _places(out_dir, example_ids)
    paths = places["source_path"].unique().to_pylist()
    plain = [path for path in paths if not _is_table(path)]
    if plain:
        if len(plain) < len(paths):
            _tell(" and ".join(plain), "beside a table has no others")
        return None
    tables, order = [], []
    for path in paths:
        rank_K = np.flatnonzero(pc.equal(places["source_path"], path).to_numpy())
        number_K = places["row_number"].to_numpy()[rank_K]
        by_number = np.argsort(number_K)
        try:
            table = _rows_of(path, number_K[by_number], [rows[i] for i in rank_K[by_number]])
        except (OSError, pa.ArrowException) as error:
            _tell(path, f"cannot be read any more ({' '.join(str(error).split())})")
            return None
        if table is None:
            _tell(path, "does not hold the rows that were scored any more")
            return None
        tables.append(table)
        order.append(rank_K[by_number])
    try:
        whole = pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        _tell(" and ".join(paths), f"differ in their types ({error})")
        return None
    return whole.take(np.argsort(np.concatenate(order)))


def _is_table(path: str) -> bool:
    kind = kind_of(path)
    return kind is not None and kind.name in TABLES


def _tell(path: str, why: str) -> None:
    logger.warning(
        "selected.parquet has the types of JSON, as %s %s: times, decimals and bytes are text",
        *(path, why),
    )


def _places(out_dir: str, example_ids: np.ndarray) -> pa.Table:
    """source_path and row_number of the candidates of these ids, in the order given."""
    columns = ["example_id", "source_path", "row_number"]
    parts = [io.read_table(uri, columns=columns) for uri in candidate_parts(out_dir)]
    table = pa.concat_tables(parts)
    chosen = pa.array(example_ids, pa.string())
    return table.take(pc.index_in(chosen, value_set=table["example_id"].combine_chunks()))


def _rows_of(path: str, number_K: np.ndarray, rows: Sequence[bytes]) -> pa.Table | None:
    """The rows of a table by their numbers, ascending; None where one is another than in `rows`."""
    kind = kind_of(path)
    assert kind is not None, "only tables are read"
    batches = []
    start, done = 0, 0
    for batch in TABLES[kind.name](path):
        stop = int(np.searchsorted(number_K, start + batch.num_rows))
        taken = batch.take(pa.array(number_K[done:stop] - start))
        texts = [text.encode() if isinstance(text, str) else b"" for text in batch_texts(taken)]
        if texts != list(rows[done:stop]):
            return None
        batches.append(taken)
        start, done = start + batch.num_rows, stop
    if done < len(number_K):
        return None
    table = pa.Table.from_batches(batches)
    notes = table.schema.metadata or {}
    kept = {key: value for key, value in notes.items() if key == KEPT_METADATA}
    return table.replace_schema_metadata(kept or None)
