"""The useful FLOP against a count by hand, and the matrices that the rate is taken over."""

from collections import Counter

import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, VOCABULARY, WINDOW, make_anchor, make_model, random_ids

from nuggets_ray.bench.flop import (
    MatrixProbe,
    data_sheet_flops,
    dense_rate,
    linear_shapes,
    num_body_parameters,
    product_rate,
    useful_flop,
    visible_pairs,
)

HIDDEN, INNER, HEADS, KEY_HEADS, HEAD_SIZE, LAYERS = 32, 48, 4, 2, 8, 2
LAYER_PARAMETERS = 2 * HIDDEN * HEADS * HEAD_SIZE + 2 * HIDDEN * KEY_HEADS * HEAD_SIZE
LAYER_PARAMETERS += 3 * HIDDEN * INNER + 2 * HIDDEN  # the perceptron, and two norms


def test_useful_flop_is_a_count_by_hand() -> None:
    model = make_model("llama")
    anchors = [make_anchor(0, 3, 2), make_anchor(1, 1, 1)]
    body = LAYERS * LAYER_PARAMETERS + HIDDEN
    assert num_body_parameters(model) == body
    # the demonstration's 4 tokens see 1 + 2 + 3 + 4; the anchors' 5..9 and 5, 6
    pairs = 10 + (5 + 6 + 7 + 8 + 9) + (5 + 6)
    wanted = 2 * body * (4 + 5 + 2) + 4 * HEADS * HEAD_SIZE * pairs * LAYERS
    wanted += 2 * HIDDEN * VOCABULARY * (2 + 1)
    assert useful_flop(model, anchors, [random_ids(0, 4)]) == wanted
    two = useful_flop(model, anchors, [random_ids(0, 4), random_ids(1, 4)])
    assert two == 2 * wanted


def test_a_sliding_window_hides_what_is_before_it() -> None:
    assert visible_pairs(4, [3], window=None) == 10 + 5 + 6 + 7
    assert visible_pairs(4, [3], window=3) == (1 + 2 + 3 + 3) + 3 * 3
    config = CONFIGS["mistral"]()
    assert config.sliding_window == WINDOW
    anchors, prefix = [make_anchor(0, 5, 20)], random_ids(0, 30)
    whole = useful_flop(make_model("llama"), anchors, [prefix])
    pairs = visible_pairs(30, [25], None) - visible_pairs(30, [25], WINDOW)
    windowed = useful_flop(make_model("mistral"), anchors, [prefix])
    assert whole - windowed == 4 * HEADS * HEAD_SIZE * pairs * LAYERS


def test_shapes_are_the_models_linear_layers() -> None:
    assert linear_shapes(make_model("llama")) == Counter(
        {(32, 32): 4, (32, 16): 4, (32, 48): 4, (48, 32): 2}
    )
    assert linear_shapes(make_model("gpt2"))[32, 96] == 2  # query, key and value in one
    assert (32, VOCABULARY) not in linear_shapes(make_model("llama4"))  # whose body is not named


def test_the_rate_is_weighted_by_flop(monkeypatch: pytest.MonkeyPatch) -> None:
    def rate(rows: torch.Tensor, weight: torch.Tensor) -> float:
        assert len(rows) == (3 if weight.shape == (VOCABULARY, 32) else 7)
        return 4.0 if weight.shape == (VOCABULARY, 32) else 1.0

    monkeypatch.setattr("nuggets_ray.bench.flop.product_rate", rate)
    found = MatrixProbe(make_model("llama"), body_rows=7, head_rows=3).rate(10, 5)
    body = 10 * (4 * 32 * 32 + 4 * 32 * 16 + 4 * 32 * 48 + 2 * 48 * 32)
    head = 5 * 32 * VOCABULARY
    assert found.mean == pytest.approx((body + 4 * head) / (body + head))
    assert found.in_turn == pytest.approx((body + head) / (body + head / 4))
    assert found.in_turn < found.mean


def test_a_product_has_a_rate() -> None:
    rate = product_rate(torch.ones(8, 4), torch.ones(6, 4))
    assert np.isfinite(rate) and rate > 0
    assert dense_rate(torch.device("cpu"), torch.float32, size=8) > 0


def test_many_products_are_started_before_the_clock_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A product takes a millisecond here, and each look at the clock 5 of them."""
    seconds, calls = [0.0], [0]

    def linear(rows: torch.Tensor, weight: torch.Tensor) -> None:
        calls[0] += 1
        seconds[0] += 0.001

    def clock() -> float:
        seconds[0] += 0.005
        return seconds[0]

    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    monkeypatch.setattr("nuggets_ray.bench.flop.time.process_time", clock)
    rate = product_rate(torch.ones(8, 4), torch.ones(6, 4))
    assert calls[0] > 100
    assert rate == pytest.approx(2 * 8 * 24 / 0.001, rel=0.1)


def test_data_sheets() -> None:
    assert data_sheet_flops("NVIDIA H100 80GB HBM3") == 989.4e12
    assert data_sheet_flops("NVIDIA H100 PCIe") == 756e12
    assert data_sheet_flops("NVIDIA L40S") == pytest.approx(362.05e12)
    assert data_sheet_flops("NVIDIA L4") == 121e12
    assert data_sheet_flops("Tesla K80") is None
