"""signals/posterior.parquet: the posterior score of every row, with its 95% interval; written anew
at the end of a scoring that told anything new.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.run.layout import RunFolder

BASIS = "computed from"
POSTERIOR_SCHEMA = pa.schema(
    [
        ("content_id", pa.string()),
        ("posterior_score", pa.float64()),
        ("posterior_low", pa.float64()),
        ("posterior_high", pa.float64()),
    ]
)


def write_posterior(
    out_dir: str,
    content_ids: np.ndarray,
    score_N: np.ndarray,
    low_N: np.ndarray,
    high_N: np.ndarray,
    basis: str = "",
) -> None:
    """Write the posterior scores of rows, in place of what was there; `basis` names what they were
    computed from."""
    columns = dict(zip(POSTERIOR_SCHEMA.names, (content_ids, score_N, low_N, high_N), strict=True))
    table = pa.table(columns, schema=POSTERIOR_SCHEMA.with_metadata({BASIS: basis}))
    io.write_table(RunFolder(out_dir).posterior, table)


def posterior_basis(out_dir: str) -> str | None:
    """What the posterior scores that are there were computed from; None where there are none, or
    that was not written down yet."""
    uri = RunFolder(out_dir).posterior
    if not io.exists(uri):
        return None
    metadata = io.read_table(uri, []).schema.metadata or {}
    basis = metadata.get(BASIS.encode())
    return None if basis is None else str(basis.decode())


def read_posterior(out_dir: str, content_ids: np.ndarray) -> np.ndarray | None:
    """The posterior score of each content_id, NaN where it has none; None where the run has no
    posterior scores."""
    uri = RunFolder(out_dir).posterior
    if not io.exists(uri):
        return None
    table = io.read_table(uri)
    index = pc.index_in(
        pa.array(content_ids, pa.string()), value_set=table["content_id"].combine_chunks()
    )
    found = table["posterior_score"].take(index)
    return np.asarray(found.to_numpy(), dtype=np.float64)
