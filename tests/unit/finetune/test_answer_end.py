"""What ends an answer, by template, and that it is trained on and stopped at."""

import copy
from typing import Any

import numpy as np
import prompt_cases
import pytest
from tokenizers import AddedToken

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.answer_end import AnswerEnd, find_answer_end
from nuggets_ray.finetune.rows import encode_example
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.records import Example, Message

TURNS = Example(
    (
        Message("user", "One?"),
        Message("assistant", "1"),
        Message("user", "Two?"),
        Message("assistant", "2, of course"),
    )
)
ROLE = "{{ '<|' + m['role'] + '|>' }}"
TEMPLATES = {
    "space": "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "[Q] {{ m['content'] }} [/Q]{% else %} {{ m['content'] }} {{ eos_token }}{% endif %}"
    "{% endfor %}",
    "line": "{% for m in messages %}" + ROLE + "{{ m['content'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}",
    "plain_token": "{% for m in messages %}"
    + ROLE
    + "{{ m['content'] + '<turn_end>\n' }}{% endfor %}",
    "two_ends": "{% for m in messages %}" + ROLE + "{{ m['content'] + '<|end|>\n' }}{% endfor %}"
    "{{ eos_token }}",
    "none": "{% for m in messages %}{{ m['role'].upper() + ': ' + m['content'] + '\\n' }}"
    "{% endfor %}",
}
ENDS = {
    "space": ("</s>", [" 1 </s>", " 2, of course </s>"]),
    "line": ("</s>", ["1\n</s>", "2, of course\n</s>"]),
    "plain_token": ("<turn_end>", ["1<turn_end>", "2, of course<turn_end>"]),
    "two_ends": ("<|end|>", ["1<|end|>", "2, of course<|end|>"]),
    "none": ("</s>", ["1</s>", "2, of course</s>"]),
}


def tokenizer_of(name: str) -> Any:
    specials = ("<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>")
    made = copy.deepcopy(
        prompt_cases.tokenizer(specials=specials, bos="<s>", template=TEMPLATES[name])
    )
    made.backend_tokenizer.add_tokens([AddedToken("<turn_end>", special=False, normalized=False)])
    return made


def trained_spans(tokenizer: Any, prompt: Prompt, end: AnswerEnd) -> list[str]:
    row = encode_example(prompt, TURNS, end)
    edges = np.flatnonzero(np.diff(row.answer_mask, prepend=False, append=False))
    return [tokenizer.decode(ids) for ids in np.split(row.token_ids, edges)[1::2]]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_end_of_an_answer_is_trained_on(name: str) -> None:
    tokenizer = tokenizer_of(name)
    prompt = make_prompt(tokenizer, PromptConfig("chat"))
    token, spans = ENDS[name]
    end = find_answer_end(prompt, tokenizer, "m")
    assert end.token_id == tokenizer.convert_tokens_to_ids(token)
    assert end.is_inserted == (name == "none")
    trained = trained_spans(tokenizer, prompt, end)
    assert [text.strip() for text in trained] == [text.strip() for text in spans]


@pytest.mark.parametrize("name", ["space", "line", "plain_token", "two_ends"])
def test_a_row_keeps_the_template_s_own_ids(name: str) -> None:
    tokenizer = tokenizer_of(name)
    prompt = make_prompt(tokenizer, PromptConfig("chat"))
    row = encode_example(prompt, TURNS, find_answer_end(prompt, tokenizer, "m"))
    turns = [{"role": turn.role, "content": turn.content} for turn in TURNS.messages]
    assert row.token_ids.tolist() == tokenizer.apply_chat_template(turns)["input_ids"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_answer_that_is_cut_did_not_end(name: str) -> None:
    tokenizer = tokenizer_of(name)
    prompt = make_prompt(tokenizer, PromptConfig("chat"))
    end = find_answer_end(prompt, tokenizer, "m")
    long = Example((Message("user", "Q"), Message("assistant", "far too long to be kept")))
    begins = int(np.flatnonzero(prompt.anchor(long).answer_mask)[0])
    limited = make_prompt(tokenizer, PromptConfig("chat", max_anchor_tokens=begins + 2))
    row = encode_example(limited, long, end)
    assert row.num_answer_tokens == 2
    assert row.answer_mask[-1] and row.token_ids[-1] != end.token_id


def test_a_model_that_could_not_learn_to_stop_is_refused() -> None:
    tokenizer = tokenizer_of("none")
    tokenizer.eos_token = None
    prompt = make_prompt(tokenizer, PromptConfig("chat"))
    with pytest.raises(UserError, match="^model.path=m: .*could not learn to stop: set eos_token"):
        find_answer_end(prompt, tokenizer, "m")
