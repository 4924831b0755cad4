"""How long a demonstration may be, by the model's context and the backend."""

from pathlib import Path

import pytest

from nuggets_ray.config.schema import ModelConfig, PromptConfig, ScoreConfig
from nuggets_ray.errors import UserError
from nuggets_ray.score.limits import demonstration_limit


@pytest.mark.parametrize(
    ("score", "limit"),
    [
        (ScoreConfig(), 4096 - 100),
        (ScoreConfig(backend="vllm"), 4096 - 101),  # it generates one token more
        (ScoreConfig(backend="vllm", vllm={"max_model_len": 1000}), 1000 - 101),
        (ScoreConfig(backend="vllm", vllm={"max_model_len": 9000}), 4096 - 101),
    ],
)
def test_the_demonstrations_that_fit_a_backend(
    score: ScoreConfig, limit: int, tiny_model: Path
) -> None:
    prompt = PromptConfig(max_demonstration_tokens=8000)
    model = ModelConfig(path=str(tiny_model))
    assert demonstration_limit(model, score, prompt, 100) == limit
    with pytest.raises(UserError, match="prompt.max_anchor_tokens"):
        demonstration_limit(model, score, prompt, limit + 100)


def test_the_limit_of_the_prompt_holds_where_the_context_is_larger(tiny_model: Path) -> None:
    sections = (ModelConfig(path=str(tiny_model)), ScoreConfig(), PromptConfig("auto", 500))
    assert demonstration_limit(*sections, 3596) == 500
    assert demonstration_limit(*sections, 3597) == 499
