"""The model that the harness asks: its templates, its record, and whose error it was."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.evaluate.harness.model import asked_model, harness_tokenizer, model_facts
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.model.load import load_tokenizer


@pytest.fixture
def model(tiny_model: Path) -> EvalModel:
    return EvalModel("base", ModelConfig(str(tiny_model)), PromptConfig("alpaca"))


def test_the_batch_is_one_on_a_cpu_and_found_on_a_gpu_unless_it_is_given(model: EvalModel) -> None:
    batches = [
        model_facts(model, "float32", device, given).batch_size
        for device, given in (("cpu", None), ("cuda", None), ("cpu", 8), ("cuda", 8))
    ]
    assert batches == [1, "auto", 8, 8]
    arguments = model_facts(model, "bfloat16", "cpu", None).model_args
    assert arguments["pretrained"] == model.model.path and arguments["dtype"] == "bfloat16"


def test_a_base_without_a_chat_template_is_asked_in_that_of_its_prompt(model: EvalModel) -> None:
    assert harness_tokenizer(model, chat_template=False).chat_template is None
    turns = [{"role": "user", "content": "Ask."}]
    tokenizer = harness_tokenizer(model, chat_template=True)
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert "### Instruction:\nAsk." in text and text.endswith("### Response:\n")


@pytest.mark.long
def test_requests_are_handed_on_by_kind_and_a_failure_is_kept(model: EvalModel) -> None:
    pytest.importorskip("lm_eval")
    asked: list[tuple[str, list[tuple[Any, ...]]]] = []

    def respond(kind: str, arguments: Any) -> list[Any]:
        asked.append((kind, list(arguments)))
        if kind == "generate_until":
            raise OSError("no room")
        return [(-1.0, True) for _ in arguments]

    harness_model = asked_model(load_tokenizer(model.model), respond, "base")
    requests = [SimpleNamespace(args=("a", "b")), SimpleNamespace(args=("c", "d"))]
    assert harness_model.loglikelihood(requests) == [(-1.0, True)] * 2
    harness_model.loglikelihood_rolling([SimpleNamespace(args=("a",))])
    assert asked == [
        ("loglikelihood", [("a", "b"), ("c", "d")]),
        ("loglikelihood_rolling", [("a",)]),
    ]
    assert harness_model.failed is None
    with pytest.raises(OSError, match="no room") as raised:
        harness_model.generate_until([SimpleNamespace(args=("a", {}))])
    assert harness_model.failed is raised.value
