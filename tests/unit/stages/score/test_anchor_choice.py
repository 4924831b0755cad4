"""The number of anchors of a run folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_candidates import make_anchor, make_candidates

from nuggets_ray.anchors.fingerprint import drawn_rules
from nuggets_ray.config.anchor_sets import anchor_sets
from nuggets_ray.config.schema import AnchorsConfig, Config, ScheduleConfig, SelectConfig
from nuggets_ray.run.anchors import write_anchors
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.stages.score.anchor_choice import settle_num

MANY = make_candidates([f"{number}" for number in range(10_001)], [5] * 10_001)
FEW = make_candidates(["a", "b", "a"], [5] * 3)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    select = SelectConfig("top_fraction", fraction=0.05)
    return Config(str(tmp_path / "out"), schedule=ScheduleConfig("race"), select=select)


def settled(run: Run, config: Config) -> int | None:
    return settle_num(run, config, MANY).anchors.num


def test_a_new_folder_draws_by_schedule_and_candidates(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    with Run(config.out_dir, "score") as run, caplog.at_level("INFO", "nuggets_ray"):
        assert settle_num(run, config, FEW).anchors.num == 100
        assert not any("anchors are drawn" in line for line in caplog.messages)
        assert settled(run, config) == 1000
        assert settled(run, replace(config, schedule=ScheduleConfig("full"))) == 100
        assert settled(run, replace(config, anchors=AnchorsConfig(num=7))) == 7
        assert settled(run, replace(config, anchors=AnchorsConfig("file", path="/a"))) is None
    assert any(
        "1000 anchors are drawn, as schedule=race has 10001" in line for line in caplog.messages
    )


def test_a_folder_with_anchors_keeps_their_number_under_any_schedule(config: Config) -> None:
    uri = RunFolder(config.out_dir).anchors
    with Run(config.out_dir, "score") as run:
        run.set_fingerprint({"anchors_rule": drawn_rules(config.anchors, config.seed)})
        assert settled(run, config) == 1000  # an attempt that failed before it had anchors
        anchors = [replace(make_anchor(f"{i}"), anchor_set="random") for i in range(250)]
        write_anchors(uri, anchors, np.zeros(250, np.float32))
        assert settled(run, config) == 250
        assert settled(run, replace(config, schedule=ScheduleConfig("full"))) == 250
        assert settled(run, replace(config, seed=1)) == 1000
        assert settled(run, replace(config, anchors=AnchorsConfig("kmeans"))) == 1000


def test_each_set_that_is_drawn_has_a_number_of_its_own(config: Config) -> None:
    sets = {"a": {}, "b": {"num": 3}, "random": {}, "file": {"path": "/a"}}
    config = replace(config, anchors=AnchorsConfig(sets=sets))
    anchors = [replace(make_anchor(f"{i}"), anchor_set="random") for i in range(250)]
    with Run(config.out_dir, "score") as run:
        run.set_fingerprint({"anchors_rule": "random, num 250, seed 0"})
        write_anchors(RunFolder(config.out_dir).anchors, anchors, np.zeros(250, np.float32))
        settled = settle_num(run, config, MANY).anchors
    of_sets = {name: one.num for name, one in anchor_sets(settled).items()}
    assert of_sets == {"a": 1000, "b": 3, "random": 250, "file": None}
