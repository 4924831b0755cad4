"""The posterior score ranks better than the share of wins, and says how sure it is."""

import numpy as np
import pytest
from race_steps import complete_race, start_race

from nuggets_ray.bench.worlds import WORLDS, RaceWorld
from nuggets_ray.schedule.forecast import read
from nuggets_ray.schedule.posterior import basis, posterior_of_run, posterior_scores, why_none
from nuggets_ray.schedule.race import RaceSettings
from nuggets_ray.schedule.seen import ALL, Seen


def test_it_is_nearer_to_the_win_share_over_other_anchors_than_the_win_share() -> None:
    gains, coverage = [], []
    for seed in range(3):
        world = WORLDS["factor"](1200, 1100, seed)
        quality_N = (world.delta[:, 100:] > 0).mean(axis=1)
        world.delta, world.anchor_tokens = world.delta[:, :100], world.anchor_tokens[:100]
        race = complete_race(world, RaceSettings(12))
        fitted = read(race.entrants, race.seen, np.arange(1200))
        posterior = posterior_scores(fitted, 12)
        raw = np.corrcoef((world.delta > 0).mean(axis=1), quality_N)[0, 1]
        gains.append(np.corrcoef(posterior.score_N, quality_N)[0, 1] - raw)
        is_within = (posterior.low_N <= quality_N) & (quality_N <= posterior.high_N)
        coverage.append(is_within.mean())
    assert min(gains) > 0
    assert np.mean(coverage) > 0.85


def test_rows_that_met_little_are_less_sure() -> None:
    race = start_race(WORLDS["factor"](600, 80, 0), RaceSettings(20))
    for _ in range(3):
        race.answer(race.plan())
    fitted = read(race.entrants, race.seen, np.flatnonzero(race.stage_N == ALL))
    posterior = posterior_scores(fitted, 20)
    width_N = posterior.high_N - posterior.low_N
    assert width_N[race.stage_N == 1].mean() > width_N[race.stage_N == ALL].mean()
    assert ((posterior.low_N >= 0) & (posterior.high_N <= 1)).all()


def test_where_there_is_too_little_it_says_so() -> None:
    assert "anchors" in str(why_none(500, 30))
    assert "rows" in str(why_none(50, 100))
    assert why_none(100, 40) is None


def test_of_one_anchor_again_and_again_nothing_is_known() -> None:
    rng = np.random.default_rng(0)
    again = np.repeat(rng.normal(size=(150, 30)), 4, axis=1)
    again += 1e-4 * rng.normal(size=again.shape)
    world = RaceWorld(again.astype(np.float32), np.full(150, 80.0), np.full(120, 75.0))
    race = complete_race(world, RaceSettings(5))
    assert "30 are distinct" in str(posterior_of_run(race.entrants, race.seen, race.settings))


@pytest.mark.parametrize("share", [0.0, 1.0, 0.5])
def test_rows_that_are_all_alike_have_the_share_that_they_won(share: float) -> None:
    delta = np.tile(np.where(np.arange(100) < 100 * share, 0.1, -0.1), (150, 1))
    world = RaceWorld(delta.astype(np.float32), np.full(150, 80.0), np.full(100, 75.0))
    race = complete_race(world, RaceSettings(5))
    posterior = posterior_of_run(race.entrants, race.seen, race.settings)
    assert not isinstance(posterior, str)
    assert ((posterior.low_N <= share) & (share <= posterior.high_N)).all()
    assert (posterior.high_N - posterior.low_N > 0.01).all()


def test_what_scores_follow_from_changes_with_what_was_seen_and_asked() -> None:
    ids, every, zero = np.array(["a", "b"]), np.full(2, ALL), np.array([-1.0, -2.0])
    begun = np.array([1, ALL])
    one = basis(ids, zero, Seen(every, [], list), RaceSettings(2))
    assert one == basis(ids.copy(), zero, Seen(every.copy(), [], list), RaceSettings(2))
    others = {
        basis(ids[::-1], zero, Seen(every, [], list), RaceSettings(2)),
        basis(ids, zero[:1], Seen(every, [], list), RaceSettings(2)),
        basis(ids, zero, Seen(begun, [np.array([3])], list), RaceSettings(2)),
        basis(ids, zero, Seen(begun, [np.array([4])], list), RaceSettings(2)),
        basis(ids, zero, Seen(every, [], list), RaceSettings(1)),
    }
    assert len(others | {one}) == 6
