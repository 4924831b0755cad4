"""Merge or gather: the faster one, and merge where it is a tie or there is no room."""

import pytest
import torch
from tiny_models import make_anchor, make_model

from nuggets_ray.score import attention_choice
from nuggets_ray.score.attention_choice import choose_attention, made_up_states

ANCHORS = [make_anchor(seed, 4, 9) for seed in range(6)]


@pytest.mark.parametrize(
    ("merge_s", "gather_s", "chosen"),
    [(1.0, 0.9, "gather"), (1.0, 0.99, "merge"), (1.0, 1.1, "merge")],
)
def test_the_faster_one_is_chosen(
    monkeypatch: pytest.MonkeyPatch, merge_s: float, gather_s: float, chosen: str
) -> None:
    taken = iter([merge_s, gather_s])
    monkeypatch.setattr(attention_choice, "seconds", lambda call: next(taken))
    assert choose_attention(make_model("llama").bfloat16(), ANCHORS, 1000) == chosen


def test_without_room_for_the_copies_it_is_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(call: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(attention_choice, "seconds", full)
    assert choose_attention(make_model("llama").bfloat16(), ANCHORS, 1000) == "merge"


def test_what_flash_attention_cannot_do_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(attention_choice, "seconds")
    assert choose_attention(make_model("llama"), ANCHORS, 1000) == "merge"  # float32


def test_made_up_states_have_the_models_heads() -> None:
    query, key = made_up_states(make_model("llama"), 7)
    assert (query.shape, key.shape) == ((1, 4, 7, 8), (1, 2, 7, 8))


def test_seconds_are_of_one_call() -> None:
    calls: list[int] = []
    assert attention_choice.seconds(lambda: calls.append(1) or torch.zeros(1)) >= 0  # type: ignore[func-returns-value]
    assert len(calls) == 1 + attention_choice.NUM_CALLS
