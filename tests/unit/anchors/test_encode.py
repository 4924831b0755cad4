"""Examples as anchors, and what is told of those that were cut."""

from pathlib import Path

import pytest

from nuggets_ray.anchors.encode import encode_anchors, warn_of_anchors
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Anchor, Example, Message


def anchors_of(model: Path, max_anchor_tokens: int, *answers: str) -> list[Anchor]:
    config = PromptConfig("alpaca", max_anchor_tokens=max_anchor_tokens)
    prompt = make_prompt(load_tokenizer(ModelConfig(str(model))), config)
    examples = [Example((Message("user", "q"), Message("assistant", text))) for text in answers]
    return encode_anchors(examples, "random", prompt)


def test_anchors_are_numbered_in_order(tiny_model: Path) -> None:
    anchors = anchors_of(tiny_model, 400, "one", "two")
    assert [anchor.anchor_id for anchor in anchors] == ["random-0", "random-1"]
    assert len({anchor.content_id for anchor in anchors}) == 2
    assert "one" in anchors[0].text and anchors[0].encoding.num_answer_tokens >= 3


def test_cuts_are_told(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = anchors_of(tiny_model, 400, "one", "two")
    warn_of_anchors(whole)
    assert caplog.text == ""
    limit = whole[0].encoding.num_tokens + 10
    warn_of_anchors(anchors_of(tiny_model, limit, "one", "x" * 100))
    assert "cuts 1 of 2 anchors" in caplog.text and "0 keep no answer" in caplog.text
    warn_of_anchors(anchors_of(tiny_model, 5, "one"))
    assert "cuts 1 of 1 anchors" in caplog.text and "1 keep no answer" in caplog.text


def test_an_official_anchor_without_an_answer_token_is_told(
    tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = load_tokenizer(ModelConfig(str(tiny_model)))
    # a token across the border: with the answer, the prompt is no longer than without it
    tokenizer.add_tokens(["Response:\n7", "se:\n7"])
    prompt = make_prompt(tokenizer, PromptConfig("official"))
    examples = [Example((Message("user", "q"), Message("assistant", text))) for text in ("7", "8")]
    warn_of_anchors(encode_anchors(examples, "file", prompt))
    assert "1 of 2 anchors have no answer token and always tie (file-0)" in caplog.text
