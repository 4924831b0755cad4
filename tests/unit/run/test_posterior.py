"""signals/posterior.parquet reads back by content_id."""

from pathlib import Path

import numpy as np

from nuggets_ray.run.posterior import posterior_basis, read_posterior, write_posterior


def test_scores_are_found_by_content_id(tmp_path: Path) -> None:
    ids, half = np.array(["a", "b"]), np.array([0.5, 0.25])
    assert read_posterior(str(tmp_path), ids) is None
    write_posterior(str(tmp_path), ids, half, half - 0.1, half + 0.1)
    found = read_posterior(str(tmp_path), np.array(["b", "c", "a"]))
    assert found is not None
    assert found[[0, 2]].tolist() == [0.25, 0.5] and np.isnan(found[1])


def test_what_they_were_computed_from_is_told(tmp_path: Path) -> None:
    one = np.array([0.5])
    assert posterior_basis(str(tmp_path)) is None
    write_posterior(str(tmp_path), np.array(["a"]), one, one, one, "all of it")
    assert posterior_basis(str(tmp_path)) == "all of it"
