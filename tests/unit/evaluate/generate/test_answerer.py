"""A replica that answers: which tokenizer it takes, and what it leaves out.

How it answers stands in test_transformers.py and test_vllm.py.
"""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.evaluate.generate import vllm
from nuggets_ray.evaluate.generate.answer import Answer, Asked
from nuggets_ray.evaluate.generate.answerer import Answerer
from nuggets_ray.evaluate.generate.chat import conversation

GREEDY = GenerateConfig(backend="transformers", max_tokens=4)
ALPACA = PromptConfig("alpaca")


@pytest.mark.parametrize("tokenizer_class", ["LlamaTokenizer", "PreTrainedTokenizerFast"])
def test_vllm_writes_answers_with_the_tokenizer_that_prompts_are_made_of(
    tokenizer_class: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class of Llama's misreads the byte-level file, and vLLM loads a tokenizer by itself."""
    model = shutil.copytree(tiny_model, tmp_path / "model")
    described = json.loads((model / "tokenizer_config.json").read_text())
    described["tokenizer_class"] = tokenizer_class
    (model / "tokenizer_config.json").write_text(json.dumps(described))
    found = []

    def make_llm(model: str, tokenizer: str | None, **arguments: Any) -> SimpleNamespace:
        read = AutoTokenizer.from_pretrained(tokenizer or model)
        found.append((tokenizer is None, read.decode(read("the  old town").input_ids)))
        return SimpleNamespace(model_config=SimpleNamespace(max_model_len=99))

    stand_in = SimpleNamespace(LLM=make_llm, SamplingParams=None)
    monkeypatch.setitem(sys.modules, "vllm", stand_in)
    monkeypatch.setattr(vllm, "check_installed", lambda *_: None)
    Answerer(ModelConfig(str(model)), ALPACA, GenerateConfig(), "float32", 0)
    assert found == [(tokenizer_class == "PreTrainedTokenizerFast", "the  old town")]


def test_a_reason_stands_in_place_of_an_answer_that_has_no_room(tiny_model: Path) -> None:
    answerer = Answerer(ModelConfig(str(tiny_model)), ALPACA, GREEDY, "float32", 0)
    asked = [Asked(conversation([text])) for text in ("a", "b" * 5000, "c")]
    first, reason, last = answerer.answer(asked, [0, 0, 0])
    assert isinstance(first, Answer) and isinstance(last, Answer)
    assert isinstance(reason, str) and reason.endswith("tokens, the context 4096")


def test_nothing_to_answer(tiny_model: Path) -> None:
    answerer = Answerer(ModelConfig(str(tiny_model)), ALPACA, GREEDY, "float32", 0)
    assert answerer.answer([], []) == []
