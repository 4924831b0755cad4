"""Which rows each arm is trained on."""

from dataclasses import replace

import numpy as np
import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.studies.arms import StudyRows, TrainingArm, only, plan_arms

NUM_ROWS = 43


@pytest.fixture(scope="module")
def rows() -> StudyRows:
    rng = np.random.default_rng(0)
    score_N = rng.permutation(NUM_ROWS) / NUM_ROWS
    return StudyRows(
        example_id_N=np.array([f"c{number:03d}" for number in range(NUM_ROWS)]),
        mean_delta_N=rng.standard_normal(NUM_ROWS),
        num_answer_tokens_N=rng.integers(5, 60, NUM_ROWS),
        values={
            "golden_score": score_N,
            "longest": rng.integers(5, 60, NUM_ROWS).astype(float),
            "ifd": np.where(np.arange(NUM_ROWS) % 7, rng.random(NUM_ROWS), np.nan),
            "rds": np.full(NUM_ROWS, np.nan),
        },
    )


def arms_of(rows: StudyRows, groups: int = 5) -> tuple[dict[tuple[str, int], TrainingArm], list]:
    arms, missing = plan_arms(rows, "golden_score", groups, 3, 0)
    return {(arm.name, arm.seed): arm for arm in arms}, missing


def test_groups_are_of_as_many_rows_and_rise_without_overlap(rows: StudyRows) -> None:
    arms, _ = arms_of(rows)
    groups = [arms[f"group-{number}", 0].row_K for number in range(1, 6)]
    assert [len(group) for group in groups] == [8] * 5
    score_N = rows.values["golden_score"]
    for lower, higher in zip(groups, groups[1:], strict=False):
        assert score_N[lower].max() < score_N[higher].min()
    ranked = np.argsort(score_N)
    assert set(groups[0]) == set(ranked[:8]) and set(groups[-1]) == set(ranked[-8:])


def test_a_group_has_the_same_rows_for_every_seed_and_random_has_others(rows: StudyRows) -> None:
    arms, _ = arms_of(rows)
    assert set(arms["group-2", 0].row_K) == set(arms["group-2", 2].row_K)
    draws = [frozenset(arms["random", seed].row_K.tolist()) for seed in range(3)]
    assert len(set(draws)) == 3 and all(len(draw) == 8 for draw in draws)


def test_arms_in_tokens_hold_about_as_many_as_what_they_stand_beside(rows: StudyRows) -> None:
    arms, _ = arms_of(rows)
    tokens_N = rows.num_answer_tokens_N
    top = tokens_N[arms["group-5", 0].row_K].sum()
    for name in ("random-tokens", "longest-tokens", "ifd-tokens", "bottom-tokens"):
        assert abs(tokens_N[arms[name, 0].row_K].sum() - top) <= tokens_N.max() / 2 + 1
    groups = [tokens_N[arms[f"group-{number}", 0].row_K].sum() for number in range(1, 6)]
    mean = np.mean(groups)
    assert abs(tokens_N[arms["top-tokens", 0].row_K].sum() - mean) <= tokens_N.max() / 2 + 1


def test_the_top_of_another_signal_is_of_rows_that_have_it(rows: StudyRows) -> None:
    arms, missing = arms_of(rows)
    assert missing == ["rds"] and ("rds", 0) not in arms
    ifd_N = rows.values["ifd"]
    best = arms["ifd", 0].row_K
    assert len(best) == 8 and not np.isnan(ifd_N[best]).any()
    assert np.nanmin(ifd_N[best]) >= np.sort(ifd_N[~np.isnan(ifd_N)])[-8]


def test_equal_scores_are_told_apart_by_mean_delta(rows: StudyRows) -> None:
    alike = replace(rows, values={**rows.values, "golden_score": np.zeros(NUM_ROWS)})
    arms, _ = arms_of(alike)
    assert set(arms["group-5", 0].row_K) == set(np.argsort(rows.mean_delta_N)[-8:])


def test_too_few_rows_for_the_groups_are_refused(rows: StudyRows) -> None:
    with pytest.raises(UserError, match="study.groups=12: 43 rows have golden_score"):
        plan_arms(rows, "golden_score", 12, 3, 0)


def test_arms_are_chosen_by_name(rows: StudyRows) -> None:
    arms, _ = plan_arms(rows, "golden_score", 5, 3, 0)
    assert {arm.label for arm in only(arms, ["group-1", "random"])} == {
        f"study-{name}-{seed}" for name in ("group-1", "random") for seed in range(3)
    }
    assert only(arms, []) == arms
    with pytest.raises(UserError, match="study.arms=rds: there is no such arm"):
        only(arms, ["rds"])
