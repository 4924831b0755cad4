"""What the manifest says of a race."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from race_steps import Race, start_race

from nuggets_ray.bench.worlds import WORLDS
from nuggets_ray.run.manifest import Run, read_manifest
from nuggets_ray.run.rounds import Round, RoundAsk, read_rounds, settled_k, write_round
from nuggets_ray.schedule.race import RacePlan, RaceReport, RaceSettings
from nuggets_ray.schedule.record import (
    ask_cost,
    foreseen_wins,
    record_race,
    round_asks,
    saved_passes,
)
from nuggets_ray.schedule.replay import Field
from nuggets_ray.schedule.seen import ALL, Entrants

ENTRANTS = Entrants(np.arange(4).astype(np.uint64), np.array([50, 70, 9, 11]), np.full(10, 20))
FIELD = Field(np.array(["a", "b", "c", "d"]), np.full(4, -1), np.zeros(10))
NUM_ROWS, NUM_ANCHORS, TOP_K = 600, 80, 30


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(str(folder))
    assert manifest is not None
    return manifest


def test_passes_and_tokens_are_counted_and_the_promise_is_kept(tmp_path: Path) -> None:
    report = RaceReport("settled", 0, 3, 1, cutoff=6.5, kappa=1.1, expected_recall=0.99)
    rounds = [Round(0, (RoundAsk(np.array(["a", "b"]), np.arange(5)),), 1, np.arange(5), {})]
    with Run(str(tmp_path), "score") as run:
        last = RacePlan([], None, None, report, None)
        record_race(run, RaceSettings(1), ENTRANTS, FIELD, last, rounds)
    race = manifest_of(tmp_path)["race"]
    assert (race["num_passes"], race["num_passes_full"]) == (10, 40)
    assert (race["num_tokens"], race["num_tokens_full"]) == (120 + 2 * 100, 140 + 4 * 200)
    assert race["expected_recall"] == 0.99 and settled_k(manifest_of(tmp_path)) == 1
    assert settled_k({}) is None


def lead(race: Race, out_dir: str) -> tuple[RacePlan, Field]:
    """Race to the end and write the rounds as a driver does."""
    ids_N = np.array([f"row-{i}" for i in range(NUM_ROWS)])
    saved = []
    while (step := race.plan()).asks:
        saved.append(saved_passes(race.entrants, race.seen, step))
        asks = round_asks(ids_N, step, race.settings)
        report = {"phase": step.report.phase}
        write_round(out_dir, Round(len(saved) - 1, asks, step.target, step.block, report))
        assert ask_cost(race.entrants, step.asks)[0] == sum(
            len(a.rows) * len(a.anchors) for a in step.asks
        )
        race.answer(step)
    assert saved[0] == saved[1] == 0 and saved[2] > 0
    return step, Field(ids_N, np.full(NUM_ROWS, -1), np.zeros(NUM_ANCHORS))


def test_what_the_promise_rests_on_is_measured(tmp_path: Path) -> None:
    race = start_race(WORLDS["factor"](NUM_ROWS, NUM_ANCHORS, 0), RaceSettings(TOP_K))
    last, field = lead(race, str(tmp_path))
    rounds = read_rounds(str(tmp_path))
    with Run(str(tmp_path), "score") as run:
        record_race(run, race.settings, race.entrants, field, last, rounds)
    told = manifest_of(tmp_path)["race"]
    assert told["num_passes"] == race.world.passes
    assert told["num_tokens"] == pytest.approx(race.world.tokens)
    assert [one["top_k"] for one in told["at"]] == [3, 6, 15, 30]
    losses = [one["expected_loss"] for one in told["at"]]
    assert losses == sorted(losses)
    assert told["at"][-1]["expected_recall"] == pytest.approx(told["expected_recall"], abs=0.01)
    for one in told["at"]:
        agreement = one["agreement"]
        assert agreement["low"] <= agreement["agreement"] <= agreement["high"]
        assert agreement["num_rows"] == 48
    assert told["held_out"]["num_predictions"] == 48 * len(race.blocks)
    assert told["held_out"]["covered"] > 0.85
    final = [rows for decided in rounds for rows in decided.asks if rows.forecast_n2 is not None]
    assert told["survivors"]["num_predictions"] == sum(len(ask.content_ids) for ask in final)
    assert told["survivors"]["covered"] > 0.75 and abs(told["survivors"]["bias_wins"]) < 4


def test_a_promise_that_rests_on_little_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    race = start_race(WORLDS["factor"](NUM_ROWS, NUM_ANCHORS, 0), RaceSettings(TOP_K))
    last, field = lead(race, str(tmp_path))
    too_sure = [
        Round(
            decided.number,
            tuple(
                RoundAsk(
                    ask.content_ids,
                    ask.anchors,
                    None if ask.forecast_n2 is None else ask.forecast_n2 * [1, 0.1],
                )
                for ask in decided.asks
            ),
            decided.target,
            decided.block,
            decided.report,
        )
        for decided in read_rounds(str(tmp_path))
    ]
    with Run(str(tmp_path), "score") as run, caplog.at_level("WARNING"):
        record_race(run, race.settings, race.entrants, field, last, too_sure)
    assert "may be too high" in caplog.text and "race.pilot" in caplog.text


def test_forecasts_are_of_the_plan_that_completes_the_last_rows() -> None:
    race = start_race(WORLDS["factor"](NUM_ROWS, NUM_ANCHORS, 1), RaceSettings(TOP_K))
    while (step := race.plan()).target is not None or step.fitted is None:
        assert foreseen_wins(step, race.settings) is None
        race.answer(step)
    foreseen = foreseen_wins(step, race.settings)
    assert foreseen is not None
    is_open_N = race.stage_N != ALL
    assert np.isfinite(foreseen[is_open_N]).all() and np.isnan(foreseen[~is_open_N]).all()
