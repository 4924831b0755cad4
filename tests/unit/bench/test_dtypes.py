"""bench=dtypes: what is compared, on matrices whose answers can be counted by hand; and once on the
tiny model."""

import json
from pathlib import Path

import numpy as np
import pytest

from nuggets_ray.bench import dtypes
from nuggets_ray.bench.dtypes import LogProbs, compare, comparison_rows, tables
from nuggets_ray.config.bench import BenchConfig
from nuggets_ray.config.schema import Config, ModelConfig

ZERO_SHOT_A = np.array([-2.0, -3.0, -1.0, -4.0], np.float32)


def log_probs(delta_CA: object) -> LogProbs:
    return LogProbs(ZERO_SHOT_A, (np.array(delta_CA) + ZERO_SHOT_A).astype(np.float64))


def test_nothing_differs_from_itself() -> None:
    one = log_probs(np.random.default_rng(0).normal(size=(30, 4)))
    found = compare(one, one)
    assert (found.num_candidates, found.num_anchors, found.flipped_share) == (30, 4, 0.0)
    assert (found.error_sd, found.error_p99, found.error_max) == (0.0, 0.0, 0.0)
    assert (found.score_change_mean, found.score_change_max, found.top_overlap) == (0.0, 0.0, 1.0)
    assert found.score_spearman == pytest.approx(1.0) == found.mean_delta_spearman


def test_decisions_that_differ_are_counted_by_the_size_of_the_exact_delta() -> None:
    exact = log_probs([[0.005, -0.005, 0.03, 0.5], [0.015, -0.07, -0.2, 0.5]])
    other = log_probs([[-0.005, -0.025, 0.02, 0.5], [0.025, -0.07, 0.01, 0.5]])
    found = compare(exact, other)
    assert found.flipped_share == 2 / 8
    bins = [(one.low, one.num_decisions, one.flipped_share) for one in found.bins]
    assert bins == [(0.0, 2, 0.5), (0.01, 1, 0.0), (0.02, 1, 0.0), (0.05, 1, 0.0), (0.1, 3, 1 / 3)]
    assert found.error_max == pytest.approx(0.21)
    assert found.score_change_mean == found.score_change_max == 1 / 4


def test_a_tie_is_no_win_on_either_side() -> None:
    found = compare(log_probs([[0.0, 1.0, 0.0, 0.0]]), log_probs([[0.001, 1.0, -0.001, 0.0]]))
    assert found.flipped_share == 1 / 4


def test_errors_are_those_of_a_delta_the_zero_shot_s_included() -> None:
    errors_CA = np.random.default_rng(1).normal(0.1, 0.02, (200, 4))
    exact = LogProbs(ZERO_SHOT_A, np.zeros((200, 4)))
    other = LogProbs(ZERO_SHOT_A - 0.1, errors_CA - 0.1)
    found = compare(exact, other)
    assert found.error_sd == pytest.approx(0.02, rel=0.1)
    assert found.error_p99 == pytest.approx(np.quantile(np.abs(errors_CA), 0.99), abs=1e-6)


def test_the_best_tenth_is_by_golden_score_then_mean_delta() -> None:
    delta_CA = np.full((20, 4), -1.0)
    delta_CA[3], delta_CA[7], delta_CA[11] = 1.0, 0.9, 0.8
    other_CA = delta_CA.copy()
    other_CA[11] = 0.95  # now before 7, at the same golden score
    assert compare(log_probs(delta_CA), log_probs(other_CA)).top_overlap == 1 / 2
    other_CA[3, 0] = -0.1  # now behind both
    assert compare(log_probs(delta_CA), log_probs(other_CA)).top_overlap == 1 / 2


def test_ranks_of_equal_values_have_no_correlation() -> None:
    found = compare(log_probs(np.full((3, 4), 0.5)), log_probs(np.full((3, 4), 0.4)))
    assert found.score_spearman is None and found.mean_delta_spearman is None
    assert "| score_spearman" in tables(found)
    assert {"case", "contender", "metric", "value", "unit"} == set(comparison_rows(found)[0])
    json.dumps(comparison_rows(found), allow_nan=False)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_cannot_be_compared_raises(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        compare(log_probs([[0.0, 1.0, bad, 0.0]]), log_probs([[0.0, 1.0, 1.0, 0.0]]))
    with pytest.raises(ValueError, match="shapes"):
        compare(log_probs(np.zeros((2, 4))), log_probs(np.zeros((3, 4))))


def test_the_bench_scores_in_both_dtypes_and_writes_rows_and_log(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(dtypes, "NUM_CANDIDATES", 4)
    out, log_path = str(tmp_path / "rows.json"), str(tmp_path / "LOG.md")
    bench = BenchConfig(name="dtypes", num_anchors=3, out=out, log=log_path)
    result = dtypes.bench(Config(model=ModelConfig(path=str(tiny_model)), bench=bench))
    rows = {row["metric"]: row["value"] for row in json.loads((tmp_path / "rows.json").read_text())}
    assert result["num_rows"] == len(rows) and result["wrote"] == [bench.out, bench.log]
    assert 0 < rows["error_p99"] <= rows["error_max"] < 0.5  # bfloat16 is not float32, but near
    assert sum(rows[name] for name in rows if name.startswith("decisions")) == 4 * 3
    log = (tmp_path / "LOG.md").read_text()
    assert "bench=dtypes" in log and "4 candidates x 3 anchors" in log
    assert "4 candidates x 3 anchors" in capsys.readouterr().out
