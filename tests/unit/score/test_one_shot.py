"""The core loop on a made-up engine: every candidate comes back, with a score or its reason."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.records import Anchor, Encoding, Example, Message, ScoreRow
from nuggets_ray.score.contract import DeviceLost
from nuggets_ray.score.one_shot import Unscored, render, score_candidates
from nuggets_ray.score.zero_shot import ZeroShot

ZERO_SHOT_A = np.array([-2.0, -2.0, -2.0], np.float32)
MAX_TOKENS = 6


class LetterPrompt:
    """A token a character, its code point; what is over the limit is cut."""

    def __init__(self, name: str = "alpaca") -> None:
        self.name = name

    def demonstration(self, example: Example, max_tokens: int) -> Encoding:
        text = "".join(message.content for message in example.messages)
        mask = np.arange(len(text)) >= len(example.messages[0].content)
        num_dropped = max(0, len(text) - max_tokens)
        ids = np.array(list(map(ord, text)), np.int64)
        return Encoding(ids[:max_tokens], mask[:max_tokens], num_dropped)


class LetterEngine:
    """Log-probs by the demonstration's first letter; `faults` are raised where it is in a call."""

    def __init__(self, **faults: BaseException) -> None:
        self.faults = faults
        self.calls: list[str] = []

    def log_probs(self, prefixes: Sequence[np.ndarray]) -> np.ndarray:
        letters = [chr(prefix[0]) for prefix in prefixes]
        self.calls.append("".join(letters))
        for letter in letters:
            if letter in self.faults:
                raise self.faults[letter]
        return np.array([LOG_PROBS[letter] for letter in letters], np.float32)


LOG_PROBS = {
    "a": [-1.0, -1.5, -2.5],
    "b": [-2.0, -2.0, -1.0],  # a tie is no win
    "c": [-3.0, -3.0, -3.0],
    "n": [-1.0, np.nan, -1.0],
    "i": [-1.0, -np.inf, -1.0],
    "p": [-1.0, np.inf, -1.0],
}


def baseline() -> ZeroShot:
    encodings = [Encoding(np.arange(3 + i), np.arange(3 + i) > 0) for i in range(3)]
    names = ("x", "a", "y")
    anchors = [
        Anchor(f"random-{i}", content_id, "random", "", encoding)
        for i, (content_id, encoding) in enumerate(zip(names, encodings, strict=True))
    ]
    return ZeroShot(tuple(anchors), ZERO_SHOT_A, noise_band_nats=0.5)


def candidate(letter: str, answer: str = "ok") -> tuple[str, Example]:
    return letter, Example((Message("user", letter), Message("assistant", answer)))


def score(
    engine: LetterEngine,
    candidates: Sequence[tuple[str, Example]],
    prompt: str = "alpaca",
    on_too_long: str = "skip",
) -> list[ScoreRow | Unscored]:
    letters: Any = LetterPrompt(prompt)
    demonstrations = render(letters, candidates, MAX_TOKENS)
    arguments: Any = (engine, letters, baseline(), candidates, demonstrations)
    results = score_candidates(*arguments, on_too_long)
    assert [result.content_id for result in results] == [name for name, _ in candidates]
    return results


def only(results: list[ScoreRow | Unscored]) -> ScoreRow:
    [row] = results
    assert isinstance(row, ScoreRow)
    return row


def reasons(results: list[ScoreRow | Unscored]) -> dict[str, str]:
    return {row.content_id: row.reason for row in results if isinstance(row, Unscored)}


def test_the_baseline_counts_its_tokens() -> None:
    assert (baseline().num_tokens, baseline().max_tokens) == (3 + 4 + 5, 5)


def test_wins_are_counted_over_zero_shot_and_ties_are_none() -> None:
    row = only(score(LetterEngine(), [candidate("b", "oké")]))
    assert (row.num_wins, row.num_anchors, row.golden_score) == (1, 3, 1 / 3)
    assert row.mean_delta == pytest.approx(1 / 3)
    assert row.num_near_ties == 2
    assert row.score_low < row.golden_score < row.score_high
    assert (row.num_prompt_tokens, row.num_answer_tokens, row.num_dropped_tokens) == (1, 3, 0)
    assert (row.example_id, row.status, row.self_anchor_index) == ("b", "complete", None)
    assert row.one_shot_logprob.dtype == np.float32
    np.testing.assert_array_equal(row.one_shot_logprob, LOG_PROBS["b"])


@pytest.mark.parametrize("letter", ["n", "i", "p"])
def test_a_log_prob_that_is_not_finite_is_a_reason_and_not_a_score(letter: str) -> None:
    results = score(LetterEngine(), [candidate("b"), candidate(letter), candidate("c")])
    assert reasons(results) == {letter: "non_finite_score"}
    assert [row.golden_score for row in results if isinstance(row, ScoreRow)] == [1 / 3, 0.0]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (RuntimeError("boom\nand a trace"), "error: RuntimeError: boom"),
        (ValueError("x" * 300), "error: ValueError: " + "x" * 200),
        (torch.OutOfMemoryError("too big"), "error: OutOfMemoryError: too big"),
        (RuntimeError(), "error: RuntimeError: "),
        (RuntimeError("\n  why\n"), "error: RuntimeError: why"),
    ],
)
def test_a_fault_of_one_candidate_is_its_own(fault: BaseException, reason: str) -> None:
    engine = LetterEngine(c=fault)
    results = score(engine, [candidate("a"), candidate("c"), candidate("b")])
    assert reasons(results) == {"c": reason}
    assert engine.calls == ["acb", "a", "c", "b"]
    one_by_one = [only(score(LetterEngine(), [candidate(name)])) for name in "ab"]
    for row, alone in zip((results[0], results[2]), one_by_one, strict=True):
        assert isinstance(row, ScoreRow)
        assert (row.golden_score, row.num_wins) == (alone.golden_score, alone.num_wins)


def test_a_candidate_alone_is_tried_once() -> None:
    engine = LetterEngine(c=RuntimeError("boom"))
    assert reasons(score(engine, [candidate("c")])) == {"c": "error: RuntimeError: boom"}
    assert engine.calls == ["c"]


@pytest.mark.parametrize("names", ["c", "acb"])
@pytest.mark.parametrize(
    "fault",
    [
        *(torch.AcceleratorError("CUDA error"), DeviceLost("gone")),
        *(KeyboardInterrupt(), TypeError("a bug")),
    ],
)
def test_a_lost_device_and_a_bug_are_no_reason_of_a_candidate(
    fault: BaseException, names: str
) -> None:
    engine = LetterEngine(c=fault)
    with pytest.raises(type(fault)):
        score(engine, [candidate(name) for name in names])
    assert engine.calls == [names]


def test_what_does_not_fit_is_skipped_and_never_seen_by_the_engine() -> None:
    engine = LetterEngine()
    long = candidate("c", "answer")
    assert reasons(score(engine, [long])) == {"c": "too_long_for_context"}
    assert engine.calls == []
    results = score(engine, [candidate("a"), long, candidate("b", "12345")])
    assert reasons(results) == {"c": "too_long_for_context"}
    assert engine.calls == ["ab"]


def test_what_does_not_fit_is_cut_and_counted_under_truncate() -> None:
    row = only(score(LetterEngine(), [candidate("b", "answer")], on_too_long="truncate"))
    assert (row.num_prompt_tokens, row.num_answer_tokens, row.num_dropped_tokens) == (1, 5, 1)
    assert row.golden_score == 1 / 3


def test_a_candidate_is_not_scored_against_itself_but_in_the_official_prompt() -> None:
    row = only(score(LetterEngine(), [candidate("a")]))
    assert (row.self_anchor_index, row.num_wins, row.num_anchors) == (1, 1, 2)
    assert row.mean_delta == pytest.approx((1.0 - 0.5) / 2)
    assert row.num_near_ties == 1
    np.testing.assert_array_equal(row.one_shot_logprob, LOG_PROBS["a"])  # all of them are written
    row = only(score(LetterEngine(), [candidate("a")], prompt="official"))
    assert (row.self_anchor_index, row.num_wins, row.num_anchors) == (None, 2, 3)
    assert row.mean_delta == pytest.approx((1.0 + 0.5 - 0.5) / 3)


KINDS: dict[str, Callable[[str], tuple[str, Example]]] = {
    **dict.fromkeys("abcn", candidate),
    "L": lambda name: candidate(name, "too long"),
    "F": candidate,
}


@given(st.text("abcnLF", max_size=8))
def test_every_candidate_comes_back_in_order_with_what_it_gets_alone(names: str) -> None:
    candidates = [KINDS[name](name) for name in names]
    together = score(LetterEngine(F=RuntimeError("boom")), candidates)
    for one, result in zip(candidates, together, strict=True):
        [alone] = score(LetterEngine(F=RuntimeError("boom")), [one])
        np.testing.assert_equal(as_tuple(result), as_tuple(alone))


def as_tuple(result: ScoreRow | Unscored) -> tuple[object, ...]:
    return tuple(getattr(result, name) for name in type(result).__slots__)


def test_a_candidate_that_is_the_only_anchor_has_nothing_to_be_scored_on() -> None:
    example = Example((Message("user", "a"), Message("assistant", "b")))
    encoding = Encoding(np.arange(3), np.arange(3) > 0)
    anchor = Anchor("x-0", example.content_id, "x", "", encoding)
    alone = ZeroShot((anchor,), np.array([-2.0], np.float32))

    class OneAnchor(LetterEngine):
        def log_probs(self, prefixes: Sequence[np.ndarray]) -> np.ndarray:
            return super().log_probs(prefixes)[:, :1]

    candidates = [(example.content_id, example)]
    for name, expected in (("alpaca", Unscored), ("official", ScoreRow)):
        prompt: Any = LetterPrompt(name)
        engine: Any = OneAnchor()
        demonstrations = render(prompt, candidates, MAX_TOKENS)
        [found] = score_candidates(engine, prompt, alone, candidates, demonstrations, "skip")
        assert isinstance(found, expected)
        assert not isinstance(found, Unscored) or found.reason == "no_other_anchor"
