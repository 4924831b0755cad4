"""What the manifest says of a race."""

from pathlib import Path

import numpy as np

from nuggets_ray.run.manifest import Run, read_manifest
from nuggets_ray.run.rounds import Round, RoundAsk, settled_k
from nuggets_ray.schedule.race import RacePlan, RaceReport, RaceSettings
from nuggets_ray.schedule.record import record_race
from nuggets_ray.schedule.seen import Entrants

ENTRANTS = Entrants(np.arange(4).astype(np.uint64), np.full(4, 50), np.full(10, 20))


def test_passes_and_tokens_are_counted_and_the_promise_is_kept(tmp_path: Path) -> None:
    report = RaceReport("settled", 0, 3, 1, cutoff=6.5, kappa=1.1, expected_recall=0.99)
    asks = (RoundAsk(np.array(["a", "b"]), np.arange(5)),)
    with Run(str(tmp_path), "score") as run:
        last = RacePlan([], None, None, report, None)
        record_race(run, RaceSettings(1), ENTRANTS, last, [Round(0, asks, 1, np.arange(5), {})])
    manifest = read_manifest(str(tmp_path))
    assert manifest is not None
    race = manifest["race"]
    assert (race["num_passes"], race["num_passes_full"]) == (10, 40)
    assert (race["num_tokens"], race["num_tokens_full"]) == (2 * (50 + 100), 4 * (50 + 200))
    assert race["expected_recall"] == 0.99 and settled_k(manifest) == 1
    assert settled_k({}) is None
