"""What anchors a run folder has, what is added to it, and how an attempt goes on, without a model:
log-probs are made up, by anchor and row.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_candidates import make_candidates

from nuggets_ray.config.schema import AnchorsConfig, Config, ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.records import Anchor
from nuggets_ray.run.anchors import read_known
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.rounds import AnsweredRow, write_answers
from nuggets_ray.run.scores import read_log_probs, write_scores
from nuggets_ray.score.calibrate import Measured
from nuggets_ray.score.score_rows import complete_row
from nuggets_ray.score.zero_shot import ZeroShot
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score import added, anchors
from nuggets_ray.stages.score.rows import RowsAsked
from nuggets_ray.stages.score.worker import Setup

IDS = ["a", "b", "c", "d", "e"]
CANDIDATES = make_candidates([*IDS, "a"], [9] * 6)
WORKERS = Workers(1, 0, 1)


def log_prob(text: str) -> float:
    return -(zlib.crc32(text.encode()) % 1000) / 250


def one_shot(content_id: str, some: Sequence[Anchor]) -> np.ndarray:
    return np.array([log_prob(content_id + anchor.text) for anchor in some], np.float32)


@dataclass
class World:
    """A run folder, its anchor files, and what was computed for it."""

    folder: Path
    prompt: Prompt
    setup: Setup
    num_measured: int = 0
    num_passes: int = 0
    dies_after: int = 10**9

    @property
    def out_dir(self) -> str:
        return self.setup.config.out_dir

    def write_set(self, name: str, *numbers: int) -> None:
        rows = [{"instruction": f"{name} {i}?", "output": f"It is {i}."} for i in numbers]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / f"{name}.jsonl").write_text(text)

    @contextmanager
    def asked(self, *names: str) -> Iterator[tuple[Run, ZeroShot, int]]:
        """The anchors of an attempt that asks for these sets."""
        sets = {name: {"path": str(self.folder / f"{name}.jsonl")} for name in names}
        config = replace(self.setup.config, anchors=AnchorsConfig(sets=sets))
        self.setup = replace(self.setup, config=config)
        with Run(self.out_dir, "score") as run:
            arguments = (run, self.setup, self.prompt, CANDIDATES, WORKERS)
            yield run, *anchors.anchors_with_zero_shot(*arguments)

    def score(self, *names: str) -> list[str]:
        """An attempt to the end; the anchors' ids."""
        while True:
            with self.asked(*names) as (run, base, num_met):
                if num_met < len(base.anchors):
                    added.add_anchors(
                        run, self.setup, CANDIDATES, base, num_met, self.prompt, WORKERS
                    )
                    continue
                if not (Path(self.out_dir) / "scores").exists():
                    write_scores(self.out_dir, "first", self._rows(base))
                return [anchor.anchor_id for anchor in base.anchors]

    def _rows(self, base: ZeroShot) -> list[Any]:
        rows = [complete_row(i, (3, 4, 0), one_shot(i, base.anchors), base, None) for i in IDS]
        return [*rows, replace(rows[0], example_id="a-2")]


@pytest.fixture
def world(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    config = Config(str(tmp_path / "out"), model=ModelConfig(str(tiny_model)))
    prompt = make_prompt(load_tokenizer(config.model), config.prompt)
    world = World(tmp_path, prompt, Setup(config, "t", "cpu", "float32", "alpaca", 512, 0))
    world.write_set("maths", 0, 1)
    world.write_set("code", 5, 6, 7)

    def measure(setup: Setup, some: Sequence[Anchor], *others: Any, **more: Any) -> Measured:
        world.num_measured += len(some)
        zero_shot_A = np.array([log_prob(anchor.text) for anchor in some], np.float32)
        return Measured(zero_shot_A, 100.0, {"engine": "none"}, 1.0)

    def compute(
        run: Run, setup: Setup, candidates: Any, asked: RowsAsked, base: ZeroShot, workers: Any
    ) -> dict[str, str]:
        some = base.take(asked.anchors).anchors
        for row in asked.rows:
            if world.dies_after == 0:
                raise KeyboardInterrupt
            world.dies_after -= 1
            content_id = str(candidates.content_id_N[row])
            answered = AnsweredRow(content_id, 3, 4, 0, one_shot(content_id, some))
            write_answers(run.out_dir, None, run.attempt_id, 0, [answered])
            world.num_passes += len(some)
        return {}

    monkeypatch.setattr(anchors, "measure", measure)
    monkeypatch.setattr(added, "compute", compute)
    return world


def check_whole(world: World) -> None:
    """Every row of scores/ has met every anchor of anchors.parquet, and nothing is left over."""
    some, zero_shot_A = read_known(world.out_dir)
    found = read_log_probs(world.out_dir, [*IDS, "a-2"])
    expected = {i: one_shot(i.partition("-")[0], some).tolist() for i in [*IDS, "a-2"]}
    assert found == expected
    assert zero_shot_A.tolist() == [np.float32(log_prob(anchor.text)) for anchor in some]
    assert not Path(RunFolder(world.out_dir).added.path).exists()


def test_a_set_and_an_anchor_that_are_added_meet_the_rows_alone(world: World) -> None:
    assert world.score("maths") == ["maths-0", "maths-1"]
    assert (world.num_measured, world.num_passes) == (2, 0)
    assert world.score("maths") == ["maths-0", "maths-1"] and world.num_measured == 2
    world.write_set("maths", 1, 9, 0)
    ids = world.score("code", "maths")
    assert ids == ["maths-0", "maths-1", "code-0", "code-1", "code-2", "maths-2"]
    assert (world.num_measured, world.num_passes) == (6, 4 * len(IDS))
    check_whole(world)
    assert world.score("maths", "code") == ids and world.num_measured == 6


def test_an_attempt_that_was_cut_goes_on(world: World) -> None:
    world.score("maths")
    before = read_log_probs(world.out_dir, IDS)
    world.dies_after = 2
    with pytest.raises(KeyboardInterrupt):
        world.score("maths", "code")
    assert read_log_probs(world.out_dir, IDS) == before
    assert len(read_known(world.out_dir)[0]) == 2
    world.dies_after = 10**9
    world.write_set("more", 3)
    assert world.score("maths", "code", "more")[2:] == ["code-0", "code-1", "code-2", "more-0"]
    assert (world.num_measured, world.num_passes) == (6, 4 * len(IDS))
    check_whole(world)


def test_what_is_not_asked_for_any_more_is_dropped_with_a_reason(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.score("maths")
    world.dies_after = 2
    with pytest.raises(KeyboardInterrupt):
        world.score("maths", "code")
    world.dies_after = 10**9
    assert world.score("maths") == ["maths-0", "maths-1"]
    assert "what an earlier attempt began to add is dropped: " in caplog.text
    check_whole(world)


def test_what_the_scores_rest_on_must_be_asked_for(world: World) -> None:
    world.score("maths", "code")
    world.write_set("code", 5, 8, 7)
    with pytest.raises(UserError, match=r"changed or removed: code-1 \("):
        world.score("maths", "code")
    with pytest.raises(UserError, match="the anchor set code too, and maths is asked for"):
        world.score("maths")
    check_whole(world)


def test_an_attempt_without_scores_binds_no_anchors(world: World) -> None:
    with world.asked("maths") as (_, base, num_met):
        assert len(base.anchors) == num_met == 2
    with world.asked("code") as (_, base, num_met):
        assert [anchor.anchor_id for anchor in base.anchors] == ["code-0", "code-1", "code-2"]
        assert num_met == 3
    with world.asked("code") as (_, base, num_met):
        assert num_met == 3
    assert world.num_measured == 5


def test_rows_that_are_no_candidates_any_more_cannot_meet_new_anchors(world: World) -> None:
    world.score("maths")
    fewer = make_candidates(IDS[:3], [9] * 3)
    no_candidates = pytest.raises(UserError, match="3 rows of the scores are no candidates any")
    with world.asked("maths", "code") as (run, base, num_met), no_candidates:
        added.add_anchors(run, world.setup, fewer, base, num_met, world.prompt, WORKERS)
