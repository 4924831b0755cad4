"""Split-half stability and the effect of length, by hand and against scipy and sklearn."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

from nuggets_ray.evaluate.verdict import reliability
from nuggets_ray.evaluate.verdict.reliability import length_effect, split_half


def matrix(num_candidates=200, num_anchors=40, ability=1.0, seed=0):
    """Deltas: an ability of each candidate and noise; the zero-shot log-probs differ by anchor."""
    rng = np.random.default_rng(seed)
    zero_shot_A = rng.normal(-2, 1, num_anchors)
    delta_NA = ability * rng.normal(size=(num_candidates, 1)) + rng.normal(
        size=(num_candidates, num_anchors)
    )
    return zero_shot_A + delta_NA, zero_shot_A


def test_scores_of_pure_ability_are_stable_and_of_noise_are_not() -> None:
    stable, unstable = split_half(*matrix(ability=2.0), 0), split_half(*matrix(ability=0.0), 0)
    assert stable and stable.reliability > 0.95 and not stable.is_unstable
    assert unstable and unstable.reliability < 0.3 and unstable.is_unstable
    assert (stable.num_candidates, stable.num_anchors, stable.num_splits) == (200, 40, 50)


def test_one_split_by_hand() -> None:
    """Two anchors: each half is one, so the score is the decision on it, whatever the split."""
    one_shot_NA, zero_shot_A = matrix(num_anchors=2)
    wins_NA = one_shot_NA > zero_shot_A
    r = scipy_stats.spearmanr(wins_NA[:, 0], wins_NA[:, 1]).statistic
    found = split_half(one_shot_NA, zero_shot_A, 0, num_splits=3)
    assert found and found.rank_correlation == pytest.approx(r)
    assert found.reliability == pytest.approx(2 * r / (1 + r))


def test_reliability_foretells_the_agreement_with_as_many_other_anchors() -> None:
    """The correlation of scores on 40 anchors with scores on 40 others is what it estimates."""
    one_shot_NA, zero_shot_A = matrix(num_candidates=2000, num_anchors=80, ability=0.5)
    found = split_half(one_shot_NA[:, :40], zero_shot_A[:40], 0)
    wins_NA = one_shot_NA > zero_shot_A
    r = scipy_stats.spearmanr(wins_NA[:, :40].sum(1), wins_NA[:, 40:].sum(1)).statistic
    assert found and found.reliability == pytest.approx(r, abs=0.03)


def test_missing_log_probs_are_left_out_and_blocks_change_nothing(monkeypatch) -> None:
    one_shot_NA, zero_shot_A = matrix()
    whole = split_half(one_shot_NA, zero_shot_A, 0)
    monkeypatch.setattr(reliability, "BLOCK_ROWS", 7)
    assert split_half(one_shot_NA, zero_shot_A, 0) == whole
    with_missing = np.vstack([one_shot_NA, np.full((5, 40), math.nan)])
    found = split_half(with_missing, zero_shot_A, 0)
    assert found and whole and found.rank_correlation == pytest.approx(whole.rank_correlation)
    one_shot_NA[::2, ::3] = math.nan
    gappy = split_half(one_shot_NA, zero_shot_A, 0)
    assert gappy and math.isfinite(gappy.reliability)


def test_opposed_halves_have_no_reliability() -> None:
    one_shot_NA = np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]])
    found = split_half(one_shot_NA, np.zeros(2), 0)
    assert found and (found.rank_correlation, found.reliability) == (pytest.approx(-1), 0.0)


@pytest.mark.parametrize("shape", [(2, 10), (10, 1), (10, 10)])
def test_nothing_is_said_where_nothing_can_be(shape: tuple[int, int]) -> None:
    """Too few candidates, too few anchors, and candidates that all win everywhere."""
    assert split_half(np.ones(shape), np.zeros(shape[1]), 0) is None


def test_length_effect_against_sklearn() -> None:
    rng = np.random.default_rng(0)
    lengths_N, is_selected_N = rng.integers(1, 50, 300), rng.random(300) < 0.2
    score_N = rng.random(300)
    found = length_effect(lengths_N, lengths_N[is_selected_N], score_N)
    assert found
    assert found.auc == pytest.approx(roc_auc_score(is_selected_N, lengths_N))
    assert found.rank_correlation == pytest.approx(
        scipy_stats.spearmanr(score_N, lengths_N).statistic
    )
    assert found.num_selected == is_selected_N.sum() and not found.explains


@pytest.mark.parametrize("order", [1, -1])
def test_the_longest_and_the_shortest_are_explained_by_length(order: int) -> None:
    lengths_N = np.arange(100)[::order]
    score_N = np.where(np.arange(100) < 5, math.nan, np.arange(100) / 100)
    found = length_effect(lengths_N, lengths_N[90:], score_N)
    assert found and found.explains
    assert found.auc == (1.0 if order == 1 else 0.0)
    assert found.rank_correlation == pytest.approx(order)


def test_two_long_rows_of_five_are_no_explanation() -> None:
    found = length_effect(np.arange(5), np.arange(3, 5), np.arange(5) / 5)
    assert found and found.auc == 1.0 and not found.explains, "chance does that, p = 0.2"


def test_everything_or_nothing_selected_has_no_length_effect() -> None:
    for selected in (np.arange(5), np.arange(0)):
        assert length_effect(np.arange(5), selected, np.arange(5) / 5) is None
