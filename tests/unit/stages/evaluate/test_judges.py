"""A local judge on a stand-in for its replicas: what it is asked, and what is kept of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from judge_tasks import ABOUT, tasks

from nuggets_ray.config.evaluate import GenerateConfig, JudgeConfig
from nuggets_ray.config.schema import Config
from nuggets_ray.evaluate.generate.answer import Answer, Asked
from nuggets_ray.evaluate.judge.cache import KeptVerdicts
from nuggets_ray.run.manifest import Run
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.evaluate import judges


def test_a_local_judge_is_greedy_and_its_verdicts_are_kept(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Asked] = []

    @contextmanager
    def answered(config: Config, *_: object) -> Iterator[object]:
        assert (config.generate.temperature, config.generate.max_tokens) == (0.0, 77)

        def answer_all(some: Sequence[Asked]) -> list[Answer | str]:
            asked.extend(some)
            return ["no room", *(Answer(f"[[{i}]]", 3, False) for i in range(1, len(some)))]

        yield answer_all

    monkeypatch.setattr(judges, "open_answers", answered)
    out_dir = str(tmp_path / "run")
    config = Config(
        out_dir,
        generate=GenerateConfig(temperature=0.9),
        judge=JudgeConfig(model=str(tiny_model), max_tokens=77),
    )
    with Run(out_dir, "evaluate") as run:
        ask = judges.make_judge(config, Workers(1, 0.0, 1), run, "float32")
        texts = ask(tasks("a", "b", "c"))
        assert ask(tasks("a", "b", "c")) == texts == ["", "[[1]]", "[[2]]"]
    assert [one.temperature for one in asked] == [0.0] * 6
    assert [one.messages[-1].text for one in asked[:3]] == ["a", "b", "c"]
    kept = KeptVerdicts(out_dir)
    assert (kept.num_verdicts, kept.num_requests, kept.num_tokens) == (3, 0, 0)
    [part] = Path(kept.folder).glob("part-*.jsonl")
    lines = part.read_text(encoding="utf-8")
    assert lines.count(f'"judge": "{tiny_model}"') == 3
    assert lines.count(f'"question_id": "{ABOUT.question_id}"') == 3
