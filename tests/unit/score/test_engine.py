"""The engines against their slow twin on every family of attention, and what the choice does."""

import functools
import logging
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import CONFIGS, VOCABULARY, WINDOW, make_anchor, make_model, random_ids

from nuggets_ray.errors import UserError
from nuggets_ray.records import Encoding
from nuggets_ray.score.engine import ENGINES, Engine, make_engine
from nuggets_ray.score.one_shot import passed_or_reasons
from nuggets_ray.score.reference import reference_log_probs
from nuggets_ray.score.speed import AS_IT_IS, Speed

TOLERANCE_NATS = 1e-4
CHOICE = {family: "tree" for family in CONFIGS} | {"bloom": "kv_cache", "jamba": "plain"}
ANCHOR_SIZES = [(5, 1), (4, 9), (1, 30), (12, 3), (7, 2), (6, 3), (0, 6), (3, 0), (6, 3)]
ANCHORS = [make_anchor(seed, *sizes) for seed, sizes in enumerate(ANCHOR_SIZES)]
PREFIXES = [random_ids(100, 23), random_ids(101, 3), random_ids(102, 0), random_ids(103, 1)]


@functools.cache
def chosen_engine(family: str) -> Engine:
    return make_engine(make_model(family), ANCHORS)


@functools.cache
def expected(family: str) -> np.ndarray:
    return reference_log_probs(chosen_engine(family).model, ANCHORS, PREFIXES)


@pytest.mark.parametrize("family", CONFIGS)
def test_the_engine_is_the_fastest_one_that_the_model_allows(family):
    assert chosen_engine(family).name == CHOICE[family]


@pytest.mark.parametrize("family", CONFIGS)
def test_log_probs_are_the_references(family):
    assert max(map(len, PREFIXES)) > WINDOW
    scored = expected(family)[expected(family) != 0]
    assert scored.max() - scored.min() > 5
    found = chosen_engine(family).log_probs(PREFIXES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(family), atol=TOLERANCE_NATS, rtol=0)


@pytest.mark.parametrize("family", ["llama", "mistral", "gpt2"])
def test_float32_is_near_float64(family):
    exact = make_model(family).double()
    prefix, anchor = PREFIXES[0], ANCHORS[2]
    ids = np.concatenate([prefix, anchor.token_ids])
    with torch.inference_mode():
        log_probs_TV = exact(torch.from_numpy(ids)[None]).logits[0].log_softmax(-1).numpy()
    answers = len(prefix) + np.flatnonzero(anchor.answer_mask)
    found = make_engine(make_model(family), [anchor]).log_probs([prefix])[0, 0]
    assert log_probs_TV.dtype == np.float64
    assert abs(found - log_probs_TV[answers - 1, ids[answers]].mean()) < 1e-5


@pytest.mark.parametrize("family", CONFIGS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_neither_pack_size_nor_order_nor_company_matters(family, data):
    order = data.draw(st.permutations(range(len(ANCHORS))), label="order")
    chosen = order[: data.draw(st.integers(1, len(order)), label="number of anchors")]
    candidates = data.draw(st.lists(st.sampled_from(range(len(PREFIXES))), max_size=3))
    size = data.draw(st.one_of(st.integers(1, 12), st.integers(13, 200)), label="pack size")
    whole = chosen_engine(family)
    engine = Engine(whole.model, [ANCHORS[a] for a in chosen], whole.name, "", size)
    found = engine.log_probs([PREFIXES[c] for c in candidates])
    assert found.shape == (len(candidates), len(chosen))
    wanted = expected(family)[np.ix_(candidates, chosen)]
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE_NATS, rtol=0)


@pytest.mark.parametrize("name", ["kv_cache", "plain"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral", "gpt2", "gpt_oss"])
def test_the_fall_backs_are_right_too(family, name):
    model = chosen_engine(family).model
    found = Engine(model, ANCHORS, name, "", 100).log_probs(PREFIXES)
    np.testing.assert_allclose(found, expected(family), atol=TOLERANCE_NATS, rtol=0)


def test_candidates_that_share_packs_get_the_same_scores():
    model = chosen_engine("qwen3").model
    for size in (60, 250, 5000):
        with torch.inference_mode():
            found = ENGINES["tree"](model, ANCHORS, PREFIXES, size)
        np.testing.assert_allclose(found, expected("qwen3"), atol=TOLERANCE_NATS, rtol=0)


def test_a_candidate_scores_the_same_bits_in_any_company():
    engine = chosen_engine("llama")
    together = engine.log_probs(PREFIXES)
    alone = np.concatenate([engine.log_probs([prefix]) for prefix in PREFIXES])
    np.testing.assert_array_equal(together, alone)


def test_an_anchor_without_answer_tokens_scores_zero():
    without = Encoding(random_ids(7, 5), np.zeros(5, dtype=bool))
    empty = Encoding(random_ids(7, 0), np.zeros(0, dtype=bool))
    engine = Engine(chosen_engine("llama").model, [without, empty, ANCHORS[0]], "tree", "", 50)
    found = engine.log_probs(PREFIXES)
    assert (found[:, :2] == 0.0).all() and (found[:, 2] < 0).all()


def test_after_an_empty_prefix_the_first_token_does_not_count():
    token_ids = random_ids(8, 6)
    whole, rest = Encoding(token_ids, np.ones(6, bool)), Encoding(token_ids, np.arange(6) > 0)
    engine = Engine(chosen_engine("llama").model, [whole, rest], "tree", "", 50)
    found = engine.log_probs([random_ids(9, 0), random_ids(9, 4)])
    assert found[0, 0] == pytest.approx(found[0, 1], abs=1e-5)
    assert found[1, 0] != pytest.approx(found[1, 1], abs=1e-3)


def test_numbers_that_are_not_finite_are_passed_on():
    model = make_model("llama")
    model.get_output_embeddings().weight[3] = torch.nan
    assert np.isnan(Engine(model, ANCHORS[:2], "tree", "", 50).log_probs(PREFIXES)).all()


def test_no_candidates_and_no_anchors():
    model = chosen_engine("llama").model
    assert Engine(model, ANCHORS, "tree", "", 50).log_probs([]).shape == (0, len(ANCHORS))
    assert Engine(model, [], "tree", "", 50).log_probs(PREFIXES).shape == (len(PREFIXES), 0)


def test_the_model_keeps_its_own_attention():
    model = make_model("llama")
    before = model.config._attn_implementation
    make_engine(model, ANCHORS).log_probs(PREFIXES)
    assert model.config._attn_implementation == before


def test_why_names_the_engines_that_were_passed_over():
    assert chosen_engine("llama").why == "tree agrees with the reference"
    assert chosen_engine("bloom").why.startswith("tree ")
    assert "kv_cache agrees with the reference" in chosen_engine("bloom").why
    assert "linear_attention" in chosen_engine("jamba").why


def test_a_speed_is_kept_where_it_agrees_and_left_out_with_a_warning_where_it_cannot_be():
    model = make_model("llama")
    fused = make_engine(model, ANCHORS, speed=Speed(fuse_products=True))
    assert fused.details == {"speed": asdict(Speed("merge", fuse_products=True))}
    found = fused.log_probs(PREFIXES)
    np.testing.assert_allclose(found, expected("llama"), atol=TOLERANCE_NATS, rtol=0)
    other = make_engine(make_model("gpt2"), ANCHORS, speed=Speed(fuse_products=True))
    assert (other.name, other.speed) == ("tree", AS_IT_IS)
    [warning] = other.details["warnings"]
    assert "nothing can be fused" in warning and "fuse_products" in warning


def test_an_engine_that_was_asked_for_and_is_wrong_is_refused():
    with pytest.raises(UserError, match="score.engine=tree .*score.engine=auto"):
        make_engine(make_model("bloom"), ANCHORS, engine="tree")
    assert make_engine(make_model("bloom"), ANCHORS, engine="plain").name == "plain"


def test_a_token_without_an_embedding_is_refused_and_the_rest_is_scored():
    model = make_model("llama")
    engine = make_engine(model, ANCHORS)
    past = np.array([3, VOCABULARY, 4])
    with pytest.raises(ValueError, match=f"token id {VOCABULARY} is past the model's {VOCABULARY}"):
        engine.log_probs([random_ids(1, 5), past])
    demonstrations = [Encoding(ids, np.arange(len(ids)) > 0) for ids in (random_ids(1, 5), past)]
    [fit, unfit] = passed_or_reasons(engine, demonstrations)
    np.testing.assert_array_equal(fit.one_shot_A, engine.log_probs([random_ids(1, 5)])[0])
    assert unfit.startswith("error: ValueError: token id")
    with pytest.raises(UserError, match="its tokenizer is not its model's"):
        make_engine(model, [Encoding(past, np.array([False, True, True]))])


def test_an_engine_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match="score.engine=quick"):
        make_engine(make_model("llama"), ANCHORS, engine="quick")


def test_the_default_pack_is_that_of_the_device():
    assert chosen_engine("llama").max_pack_tokens == 4096
    assert make_engine(make_model("llama"), ANCHORS, max_pack_tokens=77).max_pack_tokens == 77


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu", "cublas"])
@pytest.mark.parametrize("name", ENGINES)
def test_out_of_memory_halves_the_pack_and_goes_on(name, error, caplog):
    model = make_model("llama")
    body, own_forward, sizes = model.base_model, model.base_model.forward, []

    @functools.wraps(own_forward)
    def forward(input_ids, **keywords):
        if input_ids.numel() > 70:
            raise error
        sizes.append(input_ids.numel())
        return own_forward(input_ids=input_ids, **keywords)

    body.forward = forward
    engine = Engine(model, ANCHORS, name, "", 1000)
    with caplog.at_level(logging.WARNING):
        found = engine.log_probs(PREFIXES)
    np.testing.assert_allclose(found, expected("llama"), atol=TOLERANCE_NATS, rtol=0)
    assert engine.max_pack_tokens == 62
    halvings = [record.message for record in caplog.records if "out of memory" in record.message]
    assert halvings == [
        f"out of memory: going on with max_pack_tokens={size}" for size in (500, 250, 125, 62)
    ]


def test_after_a_while_larger_packs_are_tried_again(monkeypatch):
    monkeypatch.setattr("nuggets_ray.score.engine.GROUPS_BEFORE_LARGER", 2)
    sizes, room = [], [120]

    def compute(model, anchors, prefixes, max_pack_tokens, own=None):
        sizes.append(max_pack_tokens)
        if max_pack_tokens > room[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.zeros(len(prefixes), len(anchors))

    monkeypatch.setitem(ENGINES, "plain", compute)
    engine = Engine(chosen_engine("llama").model, ANCHORS, "plain", "", 400)
    for _ in range(8):
        engine.log_probs([random_ids(1, 5)])
    # after 2 groups, then after 4: nobody has more room
    assert sizes == [400, 200, 100, 100, 200, 100, 100, 100, 100, 200, 100, 100]
    room[0], sizes[:] = 1000, []
    for _ in range(30):
        engine.log_probs([random_ids(1, 5)])
    assert sizes == sorted(sizes) and sizes[-1] == engine.max_pack_tokens == 400


def test_out_of_memory_that_no_pack_avoids_is_raised():
    model = make_model("llama")

    def forward(**keywords):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.base_model.forward = forward
    with pytest.raises(torch.OutOfMemoryError):
        Engine(model, ANCHORS, "tree", "", 1000).log_probs(PREFIXES)


def test_another_error_is_not_taken_for_out_of_memory():
    model = make_model("llama")

    def forward(**keywords):
        raise RuntimeError("shapes do not match")

    model.base_model.forward = forward
    engine = Engine(model, ANCHORS, "tree", "", 1000)
    with pytest.raises(RuntimeError, match="shapes"):
        engine.log_probs(PREFIXES)
    assert engine.max_pack_tokens == 1000
