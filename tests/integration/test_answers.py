"""Answers on disk, and side by side, without Ray: what a replica writes is what is read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nuggets_ray.config.evaluate import EvaluateConfig, GenerateConfig
from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.evaluate.chat import conversation
from nuggets_ray.evaluate.generate import Answer
from nuggets_ray.evaluate.likelihood.rows import HeldRow
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.records import Example, Message
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.evaluate import job as stage
from nuggets_ray.stages.evaluate.answers import AnswerSetup, Replica, read_answers
from nuggets_ray.stages.evaluate.benchmarks import Context
from nuggets_ray.stages.evaluate.likelihood import Likelihoods

ODD = "a\u2028b\x85c\x0bd\x1ce\r\nf\n\ud7ff\U0001f600"
"""Every character at which Python ends a line, of which JSON escapes some."""


def test_what_a_replica_writes_is_what_is_read(tmp_path: Path) -> None:
    given: list[Answer | str] = [Answer(ODD, 3, True), "too long\u2028", Answer("", 0, False)]
    setup = AnswerSetup(
        ModelConfig("m"), PromptConfig(), GenerateConfig(), "float32", 0, 1, str(tmp_path)
    )
    replica = Replica(setup)
    seeds: list[int] = []

    def answer(conversations: Sequence[Any], some_seeds: list[int]) -> list[Answer | str]:
        seeds.extend(some_seeds)
        return given[: len(conversations)]

    replica._answerer = SimpleNamespace(answer=answer)  # type: ignore[assignment]
    keys = [f"{i:032x}" for i in range(1, 4)]
    assert replica.answer(keys, [conversation(["q"])] * 3) == 3
    assert read_answers(str(tmp_path)) == dict(zip(keys, given, strict=True))
    assert replica.answer(["f" * 32], [conversation(["q"])]) == 1
    assert len(list(tmp_path.iterdir())) == 2 and len(read_answers(str(tmp_path))) == 4
    assert len(seeds) == 4
    assert read_answers(str(tmp_path / "none")) == {}


def held_row(number: int) -> HeldRow:
    messages = (Message("user", f"Ask {number}?"), Message("assistant", f"It is {number}."))
    return HeldRow(str(number), None, Example(messages))


@pytest.mark.parametrize(
    ("num", "expected"), [(2, [0, 4]), (5, [0, 1, 3, 4, 6]), (8, [*range(8)]), (50, [*range(8)])]
)
def test_answers_side_by_side_show_no_row_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num: int, expected: list[int]
) -> None:
    @contextmanager
    def open_answers(
        config: Config, model: EvalModel, *_: object
    ) -> Iterator[Callable[[Sequence[Any]], list[Answer | str]]]:
        def answer_all(prompts: Sequence[Any]) -> list[Answer | str]:
            found: list[Answer | str] = [
                Answer(f"{model.name} on {prompt[-1].text}", 1, True) for prompt in prompts
            ]
            return ["no room", *found[1:]]

        yield answer_all

    monkeypatch.setattr(stage, "open_answers", open_answers)
    config = Config(str(tmp_path), evaluate=EvaluateConfig(show_answers=num))
    models = [EvalModel(name, ModelConfig("m"), PromptConfig()) for name in ("base", "golden")]
    run: Any = None
    context = Context(config, models, "float32", Workers(1, 0, 1), run)
    rows = tuple(held_row(i) for i in range(8))
    found = Likelihoods(rows, {}, {}, {})
    shown = stage._show_answers(context, found).split("## ")[1:]
    assert [block.splitlines()[0] for block in shown] == [f"Ask {i}?" for i in expected]
    assert "base: (none: no room)" in shown[0]
    assert "golden: golden on Ask" in shown[1] and "[cut]" in shown[1]
    assert f"the row's own answer: It is {expected[1]}." in shown[1]
