"""What a layer's attention does that its call does not say."""

from types import SimpleNamespace

import pytest
import torch
from tiny_models import WINDOW, make_model

from nuggets_ray.score.layer import at_positions, reach


def layers(family: str) -> list[torch.nn.Module]:
    return [layer.self_attn for layer in make_model(family).model.layers]


@pytest.mark.parametrize(
    "family, expected",
    [
        ("llama", [(None, None), (None, None)]),
        ("qwen2_moe", [(WINDOW, None), (None, None)]),
        ("phimoe", [(WINDOW, None), (WINDOW, None)]),
        ("llama4", [(None, WINDOW), (None, None)]),
    ],
)
def test_a_reach_that_only_the_mask_has_is_the_configuration_s(family, expected):
    assert [reach(layer, {}) for layer in layers(family)] == expected


@pytest.mark.parametrize("given", [5, None])
def test_a_window_that_the_call_gives_holds(given):
    layer = layers("phimoe")[0]
    assert reach(layer, {"sliding_window": given}) == (given, None)


def test_a_layer_without_a_configuration_sees_all():
    assert reach(torch.nn.Linear(1, 1), {}) == (None, None)


def test_queries_are_scaled_by_position_and_not_by_place():
    layer = layers("llama4")[1]
    position_T = torch.tensor([3, 4, 9, 20, 3, 4])

    def temperature(places):
        return torch.log1p(torch.floor((places + 1.0) / layer.floor_scale)) * layer.attn_scale + 1

    states = torch.ones(1, 2, 6, 4)
    scaled = states * temperature(torch.arange(6.0))[:, None]
    found = at_positions(layer, scaled, position_T)
    torch.testing.assert_close(found, states * temperature(position_T.float())[:, None])


@pytest.mark.parametrize("family, index", [("llama", 0), ("llama4", 0)])
def test_other_layers_queries_are_left_alone(family, index):
    states = torch.ones(1, 2, 6, 4)
    assert at_positions(layers(family)[index], states, torch.arange(6) + 100) is states
    plain = SimpleNamespace(attn_temperature_tuning=False)
    assert at_positions(plain, states, torch.arange(6) + 100) is states
