"""The signals of rows, on an engine whose numbers are made up, worked by hand."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.score.own import Own
from nuggets_ray.score.row_signals import RowSignals

UNASKED = np.array([9])


class MadeUpEngine:
    """A token's log-prob is minus its id, less 1 where the prompt asks nothing; a state is the
    first and the last id. What holds 66 cannot be computed."""

    def own(self, sequences: Sequence[Encoding], with_states: bool) -> Own:
        if any(66 in sequence.token_ids for sequence in sequences):
            raise RuntimeError("no room")
        answers = [self.log_prob(sequence) for sequence in sequences]
        states = [[one.token_ids[0], one.token_ids[-1]] for one in sequences]
        return Own(np.array(answers, np.float32), np.array(states, float) if with_states else None)

    def log_prob(self, sequence: Encoding) -> float:
        if not sequence.num_answer_tokens:
            return 0.0
        is_alone = sequence.token_ids[0] == UNASKED[0]
        return -float(sequence.token_ids[sequence.answer_mask].mean()) - is_alone

    def log_probs_and_own(
        self, demonstrations: Sequence[Encoding], with_states: bool
    ) -> tuple[np.ndarray, Own]:
        return np.full((len(demonstrations), 2), -1.0), self.own(demonstrations, with_states)


def encoding(*ids: int, answer: int = 2) -> Encoding:
    """The last `answer` ids are the answer."""
    return Encoding(np.array(ids), np.arange(len(ids)) >= len(ids) - answer)


ANCHORS = [
    Anchor("a0", "row", "file", "", encoding(0, 1)),
    Anchor("a1", "other", "file", "", encoding(5, 0)),
]
PROMPT = SimpleNamespace(unasked_ids=UNASKED, zero_shot_prefix=np.zeros(0, np.int64))


def signals(*asked: str) -> RowSignals:
    engine: Any = MadeUpEngine()
    prompt: Any = PROMPT
    return RowSignals(engine, prompt, ANCHORS, asked)


def test_perplexity_comes_with_the_pass_and_nothing_else_does() -> None:
    reader = signals("perplexity")
    shown = encoding(3, 4, 1, 3)
    [passed] = reader.passed([shown])
    assert passed.one_shot_A.tolist() == [-1.0, -1.0]
    reader.add("x", shown, passed)
    [row] = reader.take()
    assert (row.content_id, row.answer_logprob) == ("x", -2.0)
    assert row.perplexity == pytest.approx(np.exp(2))
    assert (row.alone_logprob, row.ifd, row.rds, row.rds_cosine) == (None, None, None, None)
    assert reader.take() == [], "given once"


def test_ifd_holds_the_answer_against_itself_alone() -> None:
    reader = signals("ifd")
    reader.read(["x"], [encoding(3, 4, 1, 3)])
    [row] = reader.take()
    # losses of the answer 1, 3: mean 2 after the prompt, mean 3 alone
    assert row.alone_logprob == -3.0
    assert row.ifd == pytest.approx(2 / 3)
    assert row.ifd_perplexity == pytest.approx(np.exp(2 - 3))
    assert row.is_ifd_above_1 is False


def test_several_answers_count_by_their_tokens() -> None:
    shown = Encoding(np.array([3, 4, 5, 6, 1]), np.array([False, True, False, True, True]))
    reader = signals("ifd")
    reader.read(["x"], [shown])
    [row] = reader.take()
    # alone: 4 + 1 on one token, 3.5 + 1 on two
    assert row.alone_logprob == pytest.approx(-(5 + 2 * 4.5) / 3)


def test_rds_is_the_cosine_with_the_nearest_anchor_but_itself() -> None:
    reader = signals("rds")
    reader.read(["x", "row"], [encoding(3, 7, 4), encoding(3, 7, 4)])
    row, itself = reader.take()
    assert row.rds_cosine == pytest.approx([0.8, 0.6]) and row.rds == pytest.approx(0.8)
    assert itself.rds_cosine is not None and np.isnan(itself.rds_cosine[0])
    assert itself.rds == pytest.approx(0.6)


def test_a_row_that_cannot_be_computed_has_no_numbers_and_the_others_have_theirs() -> None:
    reader = signals("ifd", "rds")
    reader.read(["bad", "x"], [encoding(66, 1, 3), encoding(3, 1, 4)])
    bad, row = reader.take()
    assert np.isnan([bad.answer_logprob, bad.perplexity, bad.ifd, bad.rds]).all()
    assert bad.rds_cosine is not None and np.isnan(bad.rds_cosine).all()
    assert row.rds == pytest.approx(0.8) and row.ifd == pytest.approx(2.5 / 3.5)


def test_a_demonstration_without_an_answer_has_no_perplexity() -> None:
    reader = signals("perplexity")
    reader.read(["x"], [Encoding(np.array([1, 2]), np.zeros(2, bool))])
    [row] = reader.take()
    assert np.isnan([row.answer_logprob, row.perplexity]).all()
