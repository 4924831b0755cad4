"""What sequences tell of themselves, against the model's own forward."""

import functools

import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, make_anchor, make_model, random_ids

from nuggets_ray.model.body import body_of
from nuggets_ray.records import Encoding
from nuggets_ray.score.engine import Engine, make_engine
from nuggets_ray.score.own import Own
from nuggets_ray.score.reference import reference_log_probs

ANCHORS = [make_anchor(seed, *sizes) for seed, sizes in enumerate([(5, 2), (4, 9), (1, 30)])]
SIZES = [(23, 9), (3, 2), (12, 1)]
DEMONSTRATIONS = [make_anchor(100 + n, *sizes) for n, sizes in enumerate(SIZES)]
NO_PREFIX = [np.zeros(0, np.int64)]
TOLERANCE = 1e-4


@functools.cache
def engine(family: str) -> Engine:
    return make_engine(make_model(family), ANCHORS)


@torch.inference_mode()
def states(family: str) -> np.ndarray:
    """Position-weighted means of the last hidden states, the obvious way."""
    found = []
    for demonstration in DEMONSTRATIONS:
        ids = torch.from_numpy(demonstration.token_ids)[None]
        hidden_TE = body_of(engine(family).model)(input_ids=ids).last_hidden_state[0].numpy()
        weight_T = np.arange(1, len(hidden_TE) + 1)
        found.append((hidden_TE * weight_T[:, None]).sum(axis=0) / weight_T.sum())
    return np.array(found)


def check(own: Own, family: str) -> None:
    expected = reference_log_probs(engine(family).model, DEMONSTRATIONS, NO_PREFIX)[0]
    np.testing.assert_allclose(own.answer_logprob_D, expected, atol=TOLERANCE, rtol=0)
    assert own.state_DE is not None
    np.testing.assert_allclose(own.state_DE, states(family), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("family", CONFIGS)
def test_demonstrations_tell_it_on_the_way_to_the_anchors(family: str) -> None:
    log_probs_CA, own = engine(family).log_probs_and_own(DEMONSTRATIONS, with_states=True)
    check(own, family)
    without_CA = engine(family).log_probs([one.token_ids for one in DEMONSTRATIONS])
    np.testing.assert_array_equal(log_probs_CA, without_CA)


@pytest.mark.parametrize("name", ["tree", "kv_cache", "plain"])
@pytest.mark.parametrize("size", [40, 5000])
def test_every_engine_tells_the_same_in_packs_of_any_size(name: str, size: int) -> None:
    one = Engine(engine("gemma2").model, ANCHORS, name, "", size)
    check(one.log_probs_and_own(DEMONSTRATIONS, with_states=True)[1], "gemma2")


@pytest.mark.parametrize("family", ["llama", "bloom", "jamba"])
def test_without_anchors_they_tell_the_same(family: str) -> None:
    check(engine(family).own(DEMONSTRATIONS, with_states=True), family)


def test_states_are_left_out_where_they_are_not_asked() -> None:
    assert engine("llama").own(DEMONSTRATIONS, with_states=False).state_DE is None
    assert engine("llama").log_probs_and_own(DEMONSTRATIONS, False)[1].state_DE is None


def test_nothing_is_asked_of_nothing() -> None:
    own = engine("llama").own([], with_states=True)
    assert own.answer_logprob_D.shape == (0,)
    assert own.state_DE is not None and own.state_DE.shape[0] == 0


def test_a_token_without_an_embedding_is_refused_before_the_device_sees_it() -> None:
    strange = Encoding(random_ids(1, 4) + 10**6, np.arange(4) > 1)
    with pytest.raises(ValueError, match="is past the model's"):
        engine("llama").own([strange], with_states=False)
