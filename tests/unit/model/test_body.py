"""A model's body is found, and has its own forward back once its output was given."""

import pytest
import torch
from tiny_models import make_model

from nuggets_ray.model.body import body_of, body_returns


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "llama4"])
def test_the_head_projects_the_states_that_the_body_is_made_to_return(family: str) -> None:
    model = make_model(family)
    ids = torch.arange(2, 7)[None]
    expected = model(input_ids=ids, use_cache=False).logits
    output = body_of(model)(input_ids=ids, use_cache=False)
    given = type(output)(last_hidden_state=output.last_hidden_state)
    with body_returns(model, given):
        projected = model(input_ids=torch.zeros_like(ids), use_cache=False).logits
    torch.testing.assert_close(projected, expected)
    again = model(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(again, expected, msg="it computes again afterwards")


def test_a_forward_of_the_body_s_own_comes_back() -> None:
    model = make_model("opt")

    def own(*arguments: object, **keywords: object) -> None:
        raise KeyError

    model.model.decoder.forward = own
    with body_returns(model, None):
        assert model.model.decoder.forward is not own
    assert model.model.decoder.forward is own
    assert "forward" not in vars(model.model)


def test_a_body_alone_has_none() -> None:
    body = make_model("llama").model
    with pytest.raises(NotImplementedError, match="no body apart from"):
        body_of(body)
