"""Training rows: what the loss is on, where an answer ends, what is cut and told."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.data.rows import BadRow
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.answer_end import AnswerEnd, find_answer_end
from nuggets_ray.finetune.rows import (
    Encoded,
    check_lengths,
    encode_example,
    encode_texts,
    join,
    split_held_out,
)
from nuggets_ray.prompts.alpaca_jinja import give_chat_template
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Example, Message

TURNS = (
    Message("system", "Be brief."),
    Message("user", "One?"),
    Message("assistant", "1"),
    Message("user", "Two?"),
    Message("assistant", "2, of course"),
)


@pytest.fixture
def tokenizer(tiny_model: Path):
    return AutoTokenizer.from_pretrained(tiny_model)


def texts(num_rows: int, words: int = 1) -> list[str]:
    return [
        json.dumps({"instruction": f"Say {i}.", "output": f"{i} " * words}) for i in range(num_rows)
    ]


def eos(tokenizer) -> AnswerEnd:
    return AnswerEnd(tokenizer.eos_token_id, is_inserted=True)


def encode(tokenizer, rows: list[str], max_tokens: int | None, on_too_long: str = "error"):
    prompt = make_prompt(tokenizer, PromptConfig("alpaca"))
    limit = None if max_tokens is None else max_tokens - 1
    limited = make_prompt(tokenizer, PromptConfig("alpaca", max_anchor_tokens=limit))
    return encode_texts(
        rows, prompt, limited, Rules("alpaca", {}), eos(tokenizer), max_tokens, on_too_long
    )


def test_every_answer_counts_and_ends_and_nothing_else_does(tokenizer) -> None:
    prompt = make_prompt(tokenizer, PromptConfig("alpaca"))
    encoding = encode_example(prompt, Example(TURNS), eos(tokenizer))
    answers = np.split(
        encoding.token_ids, np.flatnonzero(np.diff(encoding.answer_mask.astype(int))) + 1
    )[1::2]
    assert [tokenizer.decode(ids) for ids in answers] == ["1</s>", "2, of course</s>"]


def test_a_turn_that_does_not_train_ends_alike_outside_the_mask(tokenizer) -> None:
    prompt = make_prompt(tokenizer, PromptConfig("alpaca"))
    turns = [replace(turn, trains=index != 2) for index, turn in enumerate(TURNS)]
    later = (Message("user", "Three?"), Message("assistant", "3", trains=False))
    encoding = encode_example(prompt, Example((*turns, *later)), eos(tokenizer))
    whole = encode_example(prompt, Example(TURNS), eos(tokenizer))
    assert encoding.token_ids.tolist() == whole.token_ids.tolist()
    answer = encoding.token_ids[encoding.answer_mask]
    assert tokenizer.decode(answer) == "2, of course</s>"


def test_a_chat_template_needs_no_end_of_its_own(tokenizer) -> None:
    fixtures = Path(__file__).parents[2] / "fixtures" / "chat_templates"
    tokenizer.chat_template = (fixtures / "chatml.jinja").read_text(encoding="utf-8")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    prompt = make_prompt(tokenizer, PromptConfig("chat"))
    encoding = encode_example(prompt, Example(TURNS), find_answer_end(prompt, tokenizer, "m"))
    anchor = prompt.anchor(Example(TURNS))
    assert encoding.token_ids.tolist() == [*prompt.zero_shot_prefix, *anchor.token_ids]
    assert encoding.num_answer_tokens == anchor.num_answer_tokens


@pytest.mark.parametrize("turns", [TURNS, TURNS[1:3], TURNS[1:]])
def test_the_chat_template_of_a_base_model_is_what_it_trained_on(tokenizer, turns) -> None:
    prompt = make_prompt(tokenizer, PromptConfig("auto"))
    assert prompt.name == "alpaca"
    trained = encode_example(prompt, Example(turns), eos(tokenizer)).token_ids.tolist()
    assert give_chat_template(tokenizer, prompt.zero_shot_prefix.tolist())
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert tokenizer(rendered, add_special_tokens=False).input_ids == trained
    asked = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    assert rendered.startswith(asked) and rendered[len(asked) :].startswith(turns[-1].content)
    assert not give_chat_template(tokenizer, [])


def test_rows_lie_flat_and_come_back_whole(tokenizer) -> None:
    blocks = [encode(tokenizer, texts(3), None), encode(tokenizer, texts(5)[3:], None)]
    encoded = join([*blocks, encode(tokenizer, ["{"], None)])
    rows = encoded.rows
    assert rows.num_rows == 5 and encoded.skipped == {"invalid_json": 1}
    for index in range(5):
        ids, mask = rows.row(index)
        assert tokenizer.decode(ids[mask]) == f"{index}</s>"
    assert rows.num_answer_tokens_N.tolist() == [2] * 5
    assert rows.length_N.sum() == len(rows.token_ids_T)
    assert rows.take(np.arange(5)).digest() == rows.digest()
    assert rows.take(np.arange(5)[::-1]).digest() != rows.digest()


def test_a_row_that_is_no_text_is_skipped_as_scoring_does(tokenizer) -> None:
    bad = BadRow("invalid_unicode", '{"instruction": "One?", "output": "\ufffd"}')
    encoded = encode(tokenizer, [*texts(1), bad], None)
    assert encoded.rows.num_rows == 1 and encoded.skipped == {"invalid_unicode": 1}
    assert join([encoded, encoded]).fields.read == {"instruction": 2, "output": 2}


def test_held_out_rows_and_their_copies_never_train(tokenizer) -> None:
    rows = encode(tokenizer, [*texts(4), texts(1)[0]], None).rows
    train, held_out = split_held_out(rows, rows.content_id_N[:1])
    assert (train.num_rows, held_out.num_rows) == (3, 2)
    assert rows.content_id_N[0] not in train.content_id_N


def test_rows_over_the_limit_are_told_and_never_cut_silently(tokenizer) -> None:
    rows = texts(1) + [texts(2, words=60)[1]]
    longest = int(encode(tokenizer, rows, None).rows.length_N.max())
    found = encode(tokenizer, rows, longest - 20)
    assert [tokens for _, tokens in found.too_long] == [longest]
    with pytest.raises(UserError, match=rf"1 of 2 rows.*longest has {longest} .*on_too_long=skip"):
        check_lengths(found, longest - 20, "error")
    check_lengths(Encoded(found.rows, found.too_long), longest - 20, "skip")
    check_lengths(encode(tokenizer, rows, longest), longest, "error")
    assert encode(tokenizer, rows, longest - 20, "skip").rows.num_rows == 1
    cut = encode(tokenizer, rows, longest - 20, "truncate").rows
    assert cut.num_rows == 2 and cut.length_N.max() <= longest - 20
    ids, _ = cut.row(1)
    assert ids[-1] != tokenizer.eos_token_id, "a cut answer did not end there"
