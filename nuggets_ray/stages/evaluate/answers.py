"""Answers of a model to many conversations, by replicas in Ray actors.

Every block of answers is written by the worker that made it, under evaluation/answers/<model>/,
and an answer that is there is never made again: the same call goes on from them.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.evaluate.generate.answer import (
    Answer,
    Asked,
    generation_settings,
    request_key,
    seed_of,
)
from nuggets_ray.evaluate.generate.answerer import Answerer
from nuggets_ray.evaluate.generate.parts import read_answers, write_answers
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.model.identity import weights_fingerprint
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.evaluate.replicas import Block, Replicas

logger = logging.getLogger(__name__)

BLOCK_ROWS = {"cpu": 8, "cuda": 256}
"""Conversations of a block: few enough to lose in a kill, enough to keep the device busy."""


@dataclass(frozen=True, slots=True)
class AnswerSetup:
    """What a replica needs."""

    model: ModelConfig
    prompt: PromptConfig
    generate: GenerateConfig
    dtype: str
    num_gpus: float
    num_threads: int
    folder: str


class Replica:
    """One model, for an actor of replicas.py."""

    def __init__(self, setup: AnswerSetup) -> None:
        self._setup = setup
        self._answerer: Answerer | None = None

    def load(self) -> None:
        """Load the model."""
        setup = self._setup
        torch.set_num_threads(setup.num_threads)
        self._answerer = Answerer(
            setup.model, setup.prompt, setup.generate, setup.dtype, setup.num_gpus
        )

    def compute(self, keys: list[str], asked: list[Asked]) -> int:
        """Answer a block and write it as one part; how many answers it holds."""
        assert self._answerer is not None
        setup = self._setup
        answers = self._answerer.answer(asked, [seed_of(key) for key in keys])
        write_answers(setup.folder, keys, answers)
        return len(keys)


AnswerAll = Callable[[Sequence[Asked]], list[Answer | str]]
"""An answer to each, in order; a reason in place of one that cannot be answered."""


@contextmanager
def open_answers(
    config: Config, model: EvalModel, dtype: str, workers: Workers, run: Run
) -> Iterator[AnswerAll]:
    """A function that answers conversations with `model`, whose replicas start with the first one
    that is not answered yet and end with the context.

    Raises UserError where the model cannot be loaded.
    """
    prompt = make_prompt(load_tokenizer(model.model), model.prompt)
    weights = weights_fingerprint(model.model)
    given = generation_settings(config.generate, dtype, config.seed)
    folder = RunFolder(config.out_dir).evaluation.answers(model.name)
    setup = AnswerSetup(
        model.model, model.prompt, config.generate, dtype,
        workers.gpus_per_worker, workers.cpus_per_worker, folder,
    )  # fmt: skip
    replicas = Replicas(
        Replica, setup, workers, run, config.progress_s, model.name, _died_text(setup)
    )

    def answer_all(asked: Sequence[Asked]) -> list[Answer | str]:
        keys = [request_key(weights, prompt.fingerprint, given, one) for one in asked]
        todo = dict(zip(keys, asked, strict=True))
        for key in read_answers(folder):
            todo.pop(key, None)
        if num_reused := len(set(keys)) - len(todo):
            logger.info("model %s: %d answers are there already", model.name, num_reused)
        replicas.compute(
            _blocks(todo, BLOCK_ROWS[workers.device]), len(todo), "answers", num_reused
        )
        answers = read_answers(folder)
        return [answers[key] for key in keys]

    try:
        yield answer_all
    finally:
        replicas.close()


def _blocks(todo: Mapping[str, Asked], size: int) -> list[Block]:
    # long prompts first: the longest at the end would leave one replica busy alone
    keys = sorted(todo, key=lambda key: -sum(len(m.content) for m in todo[key].messages))
    blocks = [keys[start : start + size] for start in range(0, len(keys), size)]
    return [(block, [todo[key] for key in block]) for block in blocks]


def _died_text(setup: AnswerSetup) -> str:
    return (
        f"generate.backend={setup.generate.backend}: the worker that answers with "
        f"{setup.model.path} died four times (what is finished is kept): mostly the host's "
        "memory is too small: lower cluster.num_workers, or set generate.vllm.max_model_len"
    )
