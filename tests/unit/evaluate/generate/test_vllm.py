"""What vLLM is asked, on a stand-in; tests/integration asks the real one."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.generate import vllm as module
from nuggets_ray.evaluate.generate.answer import Answer, Asked
from nuggets_ray.evaluate.generate.answerer import Answerer
from nuggets_ray.evaluate.generate.chat import conversation

GREEDY = GenerateConfig(max_tokens=7, stop=["###"])
EOS_ID = 1
MAX_MODEL_LEN = 512

Make = Callable[..., Answerer]


class FakeLlm:
    """Answers with the number of the prompt; the first is cut."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments, self.calls = arguments, []
        self.model_config = SimpleNamespace(max_model_len=MAX_MODEL_LEN)
        if "no_such_argument" in arguments:
            raise TypeError("unexpected keyword\n argument")

    def generate(self, prompts: list[Any], params: list[Any], use_tqdm: bool) -> list[Any]:
        self.calls.append((prompts, params))
        return [
            SimpleNamespace(
                outputs=[
                    SimpleNamespace(
                        text=f" {i} ",
                        token_ids=[5] * (i + 1),
                        finish_reason="stop" if i else "length",
                    )
                ]
            )
            for i in range(len(prompts))
        ]


@pytest.fixture
def started() -> list[FakeLlm]:
    return []


@pytest.fixture
def make(tiny_model: Path, started: list[FakeLlm], monkeypatch: pytest.MonkeyPatch) -> Make:
    def start(**arguments: Any) -> FakeLlm:
        started.append(FakeLlm(**arguments))
        return started[-1]

    fake = SimpleNamespace(LLM=start, SamplingParams=lambda **given: given)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setattr(module, "check_installed", lambda *_: None)
    monkeypatch.setattr(module, "set_environment", lambda arguments: None)
    return lambda config, num_gpus=0.0: Answerer(
        ModelConfig(str(tiny_model)), PromptConfig("alpaca"), config, "float32", num_gpus
    )


def asked(*texts: str, temperature: float = 0.0) -> list[Any]:
    return [Asked(conversation([text]), temperature) for text in texts]


def test_greedy_answers(make: Make, started: list[FakeLlm]) -> None:
    found = make(GREEDY).answer(asked("a", "bb"), [3, 4])
    assert found == [Answer("0", 1, True), Answer("1", 2, False)]
    [(prompts, params)] = started[0].calls
    lengths = [len(prompt["prompt_token_ids"]) for prompt in prompts]
    assert lengths[1] == lengths[0] + 1
    expected = {"max_tokens": 7, "temperature": 0.0, "top_p": 1.0, "stop": ["###"], "seed": None}
    assert params == [{**expected, "stop_token_ids": [EOS_ID]}] * 2


def test_sampled_answers_have_seeds(make: Make, started: list[FakeLlm]) -> None:
    both = [*asked("a", temperature=0.5), *asked("b")]
    make(replace(GREEDY, stop=[])).answer(both, [3, 4])
    [(_, params)] = started[0].calls
    told = [(one["temperature"], one["seed"], one["stop"]) for one in params]
    assert told == [(0.5, 3, None), (0.0, None, None)]


def test_a_prompt_past_vllm_s_own_limit_is_refused(make: Make, started: list[FakeLlm]) -> None:
    """Which can be lower than the model's context, 4,096: vLLM would end the whole call."""
    found = make(GREEDY).answer(asked("a", "b" * MAX_MODEL_LEN), [0, 0])
    assert isinstance(found[0], Answer)
    assert isinstance(found[1], str) and "the context 512" in found[1]
    assert len(started[0].calls[0][0]) == 1


@pytest.mark.parametrize(
    ("num_gpus", "expected"),
    [
        (0.0, {"tensor_parallel_size": 1, "enforce_eager": True, "block_size": 32}),
        (0.5, {"tensor_parallel_size": 1, "gpu_memory_utilization": 0.45}),
        (1.0, {"tensor_parallel_size": 1}),
        # not by Ray actors of vLLM's own, which the stages know nothing of
        (2.0, {"tensor_parallel_size": 2, "distributed_executor_backend": "mp"}),
    ],
)
def test_arguments(
    make: Make, started: list[FakeLlm], num_gpus: float, expected: dict[str, Any]
) -> None:
    make(replace(GREEDY, vllm={"max_model_len": 300}), num_gpus)
    arguments = started[0].arguments
    assert arguments.items() >= {**expected, "max_model_len": 300, "dtype": "float32"}.items()
    assert ("distributed_executor_backend" in arguments) == (num_gpus > 1)
    make(replace(GREEDY, vllm={"tensor_parallel_size": 1, "enforce_eager": False}), num_gpus)
    assert started[1].arguments["tensor_parallel_size"] == 1
    assert started[1].arguments["enforce_eager"] is False


def test_what_vllm_refuses_is_the_user_s_error(make: Make) -> None:
    with pytest.raises(UserError, match=r"cannot load .* \(unexpected keyword argument\): change"):
        make(replace(GREEDY, vllm={"no_such_argument": 1}))
