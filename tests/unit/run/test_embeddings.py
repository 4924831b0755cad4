"""embeddings.parquet: what is known, and what is added."""

import numpy as np

from nuggets_ray.run.embeddings import add_embeddings, read_embeddings

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_rows_are_added_and_read_in_the_order_asked_for(tmp_path: object) -> None:
    out_dir = f"{tmp_path}/run"
    is_known, known = read_embeddings(out_dir, np.array(["a", "b"]))
    assert is_known.tolist() == [False, False] and known.size == 0
    add_embeddings(out_dir, np.array(["a", "b"]), VECTORS[:2])
    add_embeddings(out_dir, np.array(["c", "d"]), VECTORS[2:])
    is_known, known = read_embeddings(out_dir, np.array(["d", "x", "a"]))
    assert is_known.tolist() == [True, False, True]
    assert known.tolist() == VECTORS[[3, 0]].tolist()
