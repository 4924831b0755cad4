"""The registered attention refuses what it cannot honour instead of dropping it."""

import pytest
import torch
from tiny_models import make_model

from nuggets_ray.score.attention import NAME, TreeUnsupported, tree_attention
from nuggets_ray.score.pack import make_packs


@pytest.fixture
def attend():
    """Calls the attention as a model's layer would, for a pack of 3 + 2 tokens."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def call(mask=None, batch=1, **keywords):
        states = torch.randn(batch, 2, 5, 8)
        layer = torch.nn.Linear(1, 1)
        with tree_attention(make_model("llama")) as state:
            state.start(make_packs([3], [2], 50)[0])
            function = ALL_ATTENTION_FUNCTIONS[NAME]
            return function(layer, states, states, states, mask, **keywords)[0]

    return call


def test_neutral_and_absent_keywords_pass(attend):
    keywords = {"position_ids": torch.arange(5)[None], "use_cache": False, "position_bias": None}
    assert attend(scaling=0.3, dropout=0.0, **keywords).shape == (1, 5, 2, 8)


def test_an_unknown_keyword_raises(attend):
    with pytest.raises(TreeUnsupported, match="position_bias"):
        attend(position_bias=torch.zeros(1))


@pytest.mark.parametrize(
    "keywords",
    [{"mask": torch.zeros(1, 1, 5, 5)}, {"dropout": 0.1}, {"is_causal": False}, {"batch": 2}],
    ids=str,
)
def test_a_mask_dropout_or_batch_of_the_models_own_raises(attend, keywords):
    with pytest.raises(TreeUnsupported):
        attend(**keywords)


def test_a_model_with_attention_of_its_own_is_refused():
    with (
        pytest.raises(TreeUnsupported, match="registry"),
        tree_attention(make_model("bloom")),
    ):
        pass


def test_the_former_attention_comes_back_after_an_error():
    model = make_model("llama")
    before = model.config._attn_implementation
    with pytest.raises(KeyError), tree_attention(model):
        raise KeyError
    assert model.config._attn_implementation == before
