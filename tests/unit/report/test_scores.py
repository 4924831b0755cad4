"""The distribution of golden scores, their cut, and length."""

from pathlib import Path

import numpy as np
import pytest
from reported_run import choose, material, scored

from nuggets_ray.report.scores import (
    cut_interval,
    length_bins,
    length_matched,
    lengths,
    rank_correlation,
    scores,
)


def test_the_cut_has_the_interval_of_the_last_kept_row(tmp_path: Path) -> None:
    run = material(choose(scored(str(tmp_path)), k=4))
    section = scores(run)
    assert [picture.name for picture in section.pictures] == ["scores", "ranks"]
    assert run.main is not None
    cut = cut_interval(run, run.main)
    assert cut is not None and cut[0] == 0.75 and cut[1] < 0.75 < cut[2]
    assert "The cut is at 0.75" in section.values["cut"]
    assert "95% interval" in section.values["cut"]
    assert dict(section.values["figures"])["rows with a golden score"] == "13"


def test_a_selection_by_something_else_has_no_cut(tmp_path: Path) -> None:
    section = scores(material(choose(scored(str(tmp_path)), by="longest")))
    assert section.values["cut"] == "longest was not chosen by golden score, so it has no cut here."
    assert "no cut" in scores(material(scored(str(tmp_path / "other")))).values["cut"]


def test_length(tmp_path: Path) -> None:
    section = lengths(material(choose(scored(str(tmp_path)))))
    assert section.values["correlation"].startswith("+"), "row n has 10 + n answer tokens"
    assert sum(int(row[1]) for row in section.values["table"].rows) == 13
    assert sum(int(row[3]) for row in section.values["table"].rows) == 4
    assert "4 rows in all" in section.values["shared"]


def test_bins_of_length_hold_like_numbers() -> None:
    bins = length_bins(np.arange(100.0))
    assert np.bincount(bins).tolist() == [10] * 10
    assert length_bins(np.full(5, 7.0)).tolist() == [0] * 5


def test_length_matched_takes_the_best_of_each_length() -> None:
    golden = np.array([0.9, 0.8, 0.2, 0.1])
    bins = np.array([0, 0, 1, 1])
    assert sorted(length_matched(golden, np.zeros(4), bins, 2).tolist()) == [0, 2]
    assert length_matched(golden, np.zeros(4), bins, 1).tolist() == [0]


@pytest.mark.parametrize(
    "one, other, expected",
    [([1, 2, 3], [3, 5, 9], 1.0), ([1, 2, 3], [1, 1, 1], None), ([1, 2], [1, 2], None)],
)
def test_rank_correlation(one: list[float], other: list[float], expected: float | None) -> None:
    assert rank_correlation(np.array(one), np.array(other)) == expected
