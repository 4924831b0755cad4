"""Answers by transformers on a tiny model in float32, against a loop of argmax alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.evaluate.generate.answer import Answer, Asked
from nuggets_ray.evaluate.generate.answerer import Answerer
from nuggets_ray.evaluate.generate.chat import conversation, prompt_ids
from nuggets_ray.finetune.answer_end import find_answer_end
from nuggets_ray.model.load import load_model, load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Message

GREEDY = GenerateConfig(backend="transformers", max_tokens=24)
SAMPLED = replace(GREEDY, temperature=1.0, top_p=0.95)
ALPACA = PromptConfig("alpaca")
ASKED = [conversation([f"Say {'very ' * (3 * i)}much of {i}."]) for i in range(11)]


def answers(
    model: Path,
    generate: GenerateConfig,
    asked: list[tuple[Message, ...]] = ASKED,
    seeds: list[int] | None = None,
) -> list[Answer | str]:
    answerer = Answerer(ModelConfig(str(model)), ALPACA, generate, "float32", 0)
    requests = [Asked(messages, generate.temperature or 0.0) for messages in asked]
    return answerer.answer(requests, seeds or list(range(len(asked))))


def ids_of(model: Path, messages: tuple[Message, ...]) -> np.ndarray:
    tokenizer = load_tokenizer(ModelConfig(str(model)))
    prompt = make_prompt(tokenizer, ALPACA)
    return prompt_ids(prompt, messages, find_answer_end(prompt, tokenizer, str(model)))


def slow_twin(model: Path, loaded: Any, messages: tuple[Message, ...], max_tokens: int) -> Answer:
    """The likeliest token after all tokens so far, again and again."""
    tokenizer = load_tokenizer(ModelConfig(str(model)))
    ids, new = ids_of(model, messages).tolist(), []

    def decode(token_ids: list[int]) -> str:
        return tokenizer.decode(token_ids, skip_special_tokens=True).strip()

    with torch.inference_mode():
        while len(new) < max_tokens:
            logits_V = loaded(torch.tensor([ids + new])).logits[0, -1]
            new.append(int(logits_V.argmax()))
            if new[-1] == tokenizer.eos_token_id:
                return Answer(decode(new[:-1]), len(new), False)
    return Answer(decode(new).rstrip("\ufffd").rstrip(), len(new), True)


@pytest.fixture(scope="module")
def ending_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, so changed that some answers end early; and with generation settings of its
    own, which are none of a greedy answer's business.
    """
    from transformers import LlamaForCausalLM

    folder = tmp_path_factory.mktemp("ending") / "model"
    shutil.copytree(tiny_model, folder)
    model = LlamaForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        model.lm_head.weight[1] *= 2.5
    model.save_pretrained(folder)
    own = {"eos_token_id": 1, "repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "max_length": 9}
    (folder / "generation_config.json").write_text(json.dumps(own))
    return folder


def test_greedy_is_the_likeliest_token_one_by_one(ending_model: Path) -> None:
    loaded = load_model(ModelConfig(str(ending_model)), "float32", "cpu")
    expected = [slow_twin(ending_model, loaded, m, GREEDY.max_tokens) for m in ASKED]
    assert {answer.is_cut for answer in expected} == {True, False}
    assert len({answer.text for answer in expected}) > len(expected) // 2
    assert answers(ending_model, GREEDY) == expected, "with padding in front, eight at once"
    assert [answers(ending_model, GREEDY, [m])[0] for m in ASKED[:3]] == expected[:3]
    assert answers(ending_model, GREEDY, ASKED[::-1]) == expected[::-1]


def test_an_answer_ends_before_a_stop_text(tiny_model: Path) -> None:
    whole = [answer.text for answer in answers(tiny_model, GREEDY)]
    stops = [whole[0][5:7], whole[4][9:11]]
    found = answers(tiny_model, replace(GREEDY, stop=stops))
    assert whole[0][5:7].strip() and any(stop in text for stop in stops for text in whole)
    for answer, text in zip(found, whole, strict=True):
        places = [place for place in map(text.find, stops) if place >= 0]
        assert answer.text == (text[: min(places)].strip() if places else text)
        assert answer.is_cut == (not places)
        assert (answer.num_tokens < GREEDY.max_tokens) or not places
    alone = [answers(tiny_model, replace(GREEDY, stop=stops), [m])[0] for m in ASKED[:5]]
    assert alone == found[:5], "tokens too: padding behind a stop text is not counted"


def test_a_stop_text_that_begins_in_the_prompt_does_not_stop(tiny_model: Path) -> None:
    """The prompt ends in a line break."""
    [whole] = answers(tiny_model, GREEDY, ASKED[:1])
    assert isinstance(whole, Answer)
    tokenizer = load_tokenizer(ModelConfig(str(tiny_model)))
    assert tokenizer.decode(ids_of(tiny_model, ASKED[0])).endswith("\n")
    stop = "\n" + whole.text[0]
    assert stop not in whole.text
    assert answers(tiny_model, replace(GREEDY, stop=[stop]), ASKED[:1]) == [whole]


def test_a_prompt_past_the_context_is_refused_and_the_others_answered(tiny_model: Path) -> None:
    room = 4096 - len(ids_of(tiny_model, conversation(["a"]))) + 1
    asked = [ASKED[0], *(conversation(["a" * (room - left)]) for left in (0, 1, 5)), ASKED[1]]
    found = answers(tiny_model, GREEDY, asked)
    assert found[1] == "the prompt has 4096 tokens, the context 4096"
    whole = answers(tiny_model, GREEDY, ASKED[:2])
    assert [found[0], found[4]] == whole
    for answer, num_tokens in ((found[2], 1), (found[3], 5)):
        assert isinstance(answer, Answer), "the context's end is an end too"
        assert (answer.num_tokens, answer.is_cut) == (num_tokens, True)


def test_a_sampled_answer_is_its_seed_s_own(tiny_model: Path) -> None:
    found = answers(tiny_model, SAMPLED)
    assert answers(tiny_model, SAMPLED) == found
    order = [7, 0, 3]
    some = answers(tiny_model, SAMPLED, [ASKED[i] for i in order], order)
    assert some == [found[i] for i in order]
    assert answers(tiny_model, SAMPLED, seeds=[100 + i for i in range(11)]) != found
    same = answers(tiny_model, SAMPLED, [ASKED[0]] * 4, [1, 2, 3, 4])
    assert len({str(answer) for answer in same}) == 4
    sharp = answers(tiny_model, replace(SAMPLED, top_p=1e-6))
    assert sharp == answers(tiny_model, GREEDY), "top_p leaves the likeliest token only"


def test_greedy_and_sampled_answers_stand_side_by_side(tiny_model: Path) -> None:
    """Each has its own temperature, and is what it is alone."""
    answerer = Answerer(ModelConfig(str(tiny_model)), ALPACA, GREEDY, "float32", 0)
    warm = [index % 3 == 1 for index in range(len(ASKED))]
    asked = [Asked(m, 0.9 if is_warm else 0.0) for m, is_warm in zip(ASKED, warm, strict=True)]
    found = answerer.answer(asked, list(range(len(asked))))
    greedy, sampled = (
        answers(tiny_model, GREEDY),
        answers(tiny_model, replace(GREEDY, temperature=0.9)),
    )
    pairs = zip(sampled, greedy, strict=True)
    assert found == [s if is_warm else g for (s, g), is_warm in zip(pairs, warm, strict=True)]
    assert sampled != greedy
