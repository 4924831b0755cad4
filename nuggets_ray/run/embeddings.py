"""embeddings.parquet: hidden states of rows by the run's model, of fewer dimensions
(`diversity.reduced`), kept for the next selection that compares rows.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.run.layout import RunFolder


def read_embeddings(out_dir: str, example_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the rows have one, (P,) bool, and the embeddings of those, (known rows, D)."""
    uri = RunFolder(out_dir).embeddings
    if not io.exists(uri):
        return np.zeros(len(example_ids), bool), np.empty((0, 0), np.float32)
    table = io.read_table(uri)
    place = pc.index_in(
        pa.array(example_ids, pa.string()), value_set=table["example_id"].combine_chunks()
    )
    vectors = table["embedding"].take(place.drop_null()).combine_chunks()
    num_known = len(vectors)
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    return place.is_valid().to_numpy(zero_copy_only=False), flat.reshape(num_known, -1)


def add_embeddings(out_dir: str, example_ids: np.ndarray, vector_PD: np.ndarray) -> None:
    """Put rows that have none beside those that have."""
    uri = RunFolder(out_dir).embeddings
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(vector_PD, np.float32).ravel()), vector_PD.shape[1]
    )
    table = pa.table({"example_id": pa.array(example_ids, pa.string()), "embedding": column})
    if io.exists(uri):
        table = pa.concat_tables([io.read_table(uri), table])
    io.write_table(uri, table)
