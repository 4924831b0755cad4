"""Which group an operator's time belongs to, and that the groups add up."""

import pytest
import torch

from nuggets_ray.bench.profiling import (
    ATTENTION,
    ELEMENTS,
    MATRIX,
    REST,
    VOCABULARY,
    group_of,
    where_time_goes,
)


@pytest.mark.parametrize(
    ("name", "shapes", "group"),
    [
        ("aten::mm", [[4096, 576], [576, 1536]], MATRIX),
        ("aten::addmm", [[10], [4, 5], [5, 10]], MATRIX),
        ("aten::mm", [[128, 576], [576, 49152]], VOCABULARY),
        ("aten::_log_softmax", [[128, 49152], [], []], VOCABULARY),
        ("aten::nll_loss_forward", [[128, 10], [128]], VOCABULARY),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", [[1, 9, 64, 64]], ATTENTION),
        ("aten::bmm", [[9, 64, 64], [9, 64, 64]], ATTENTION),
        ("aten::embedding", [[49152, 576], [1, 4096]], ELEMENTS),
        ("aten::mul", [[1, 4096, 576], []], ELEMENTS),
        ("aten::copy_", [[1, 4096, 576]], ELEMENTS),
    ],
)
def test_groups(name: str, shapes: list, group: str) -> None:
    assert group_of(name, shapes, vocab_size=49152) == group


def test_the_groups_add_up_to_the_whole() -> None:
    weight, head = torch.randn(64, 64), torch.randn(101, 64)

    def call() -> None:
        hidden = torch.randn(64, 64) @ weight
        (hidden @ head.T).log_softmax(-1)

    found = where_time_goes(call, vocab_size=101)
    assert list(found) == [MATRIX, VOCABULARY, ATTENTION, ELEMENTS, REST]
    assert found[MATRIX] > 0 and found[VOCABULARY] > 0 and found[ATTENTION] == 0
    assert all(seconds >= 0 for seconds in found.values())
