"""Products of one input as one: the same numbers, no weight held twice, the layers as they were
afterwards."""

import pytest
import torch
from tiny_models import make_model

from nuggets_ray.score.fused_products import fused_products, groups_of


def make_layers(bias: bool = True) -> torch.nn.Module:
    """Queries, keys and values of three sizes."""
    module = torch.nn.Module()
    torch.manual_seed(0)
    for name, size in (("q_proj", 6), ("k_proj", 2), ("v_proj", 3)):
        setattr(module, name, torch.nn.Linear(4, size, bias=bias))
    module.__dict__["base_model"] = torch.nn.Sequential(module)  # no child of its own
    return module.requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
def test_one_product_gives_what_each_gives(bias):
    module = make_layers(bias)
    layers = [module.q_proj, module.k_proj, module.v_proj]
    hidden, other = torch.randn(5, 4), torch.randn(5, 4)
    wanted = [layer(hidden) for layer in layers]
    alone = module.k_proj(other)
    with torch.inference_mode(), fused_products(module):
        found = [layer(hidden) for layer in layers]
        torch.testing.assert_close(found, wanted)
        module.q_proj(hidden)
        torch.testing.assert_close(module.k_proj(other), alone)
        torch.testing.assert_close(module.v_proj(hidden), wanted[2])
    assert all("forward" not in layer.__dict__ for layer in layers)
    torch.testing.assert_close([layer(hidden) for layer in layers], wanted)


def test_no_weight_is_held_twice_nor_laid_out_anew():
    module, places = make_layers(), []
    for _ in range(2):
        with fused_products(module):
            pass
        places += [layer.weight.untyped_storage().data_ptr() for layer in module.children()]
    assert len(places) == 6 and len(set(places)) == 1
    module.to(torch.bfloat16)  # each is a tensor of its own again
    hidden = torch.randn(5, 4, dtype=torch.bfloat16)
    wanted = module.v_proj(hidden)
    with fused_products(module):
        module.q_proj(hidden)
        torch.testing.assert_close(module.v_proj(hidden), wanted)


def test_the_groups_are_linear_layers_of_one_input():
    sizes = [[layer.out_features for layer in group] for group in groups_of(make_model("llama"))]
    assert sorted(sizes) == [[32, 16, 16], [32, 16, 16], [48, 48], [48, 48]]
    with (
        pytest.raises(ValueError, match="nothing can be fused"),
        fused_products(make_model("gpt2")),
    ):
        pass
