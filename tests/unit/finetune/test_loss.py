"""The loss: the same as plain cross-entropy over whole logits, on every assistant token alone."""

import numpy as np
import pytest
import torch
from tiny_models import make_model
from train_runs import make_rows

from nuggets_ray.finetune import loss as loss_module
from nuggets_ray.finetune.loss import collate, give_loss
from nuggets_ray.finetune.rows import TrainRows


def plain_loss(model: torch.nn.Module, rows: TrainRows) -> torch.Tensor:
    """Row by row, whole logits, no padding: what the loss should be."""
    total = torch.zeros(())
    for index in range(rows.num_rows):
        ids, mask = rows.row(index)
        log_probs = model(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].log_softmax(-1)
        for t in np.flatnonzero(mask):
            total = total - log_probs[t - 1, int(ids[t])]
    return total


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "mistral", "gpt2", "bloom"])
def test_padded_rows_lose_what_each_loses_alone(family: str) -> None:
    model = make_model(family).requires_grad_(True)
    rows = make_rows([30, 12, 21])
    expected = plain_loss(model, rows)
    give_loss(model)
    found = model(collate(rows, [0, 1, 2]))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_chunks_of_the_projection_give_the_same_loss_and_gradients(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows([30, 12])
    gradients = []
    for limit in (1 << 28, 4 * 61 * 5):
        monkeypatch.setattr(loss_module, "MAX_LOGITS_BYTES", limit)
        model = make_model(family).requires_grad_(True)
        give_loss(model)
        model(collate(rows, [0, 1])).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for whole, chunked in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, chunked, rtol=1e-4, atol=1e-4)


def test_labels_are_masked_by_position_not_by_token() -> None:
    """A row whose answer ends in the token that pads it, as where pad equals eos."""
    ids = np.array([5, 6, 1, 5, 1, 1, 1], np.int32)
    mask = np.array([0, 0, 0, 1, 1, 0, 0], bool)
    rows = TrainRows(ids, mask, np.array([0, 5, 7]), np.array([b"a", b"b"], "S32"))
    batch = collate(rows, [0, 1])
    assert batch.target_R.tolist() == [5, 1]
    assert batch.hidden_row_R.tolist() == [2, 3]
    assert batch.token_ids_BT.tolist() == [[5, 6, 1, 5, 1], [1, 1, 1, 1, 1]]


def test_a_worker_without_rows_has_a_loss_of_nothing_that_can_go_backward() -> None:
    model = make_model("llama").requires_grad_(True)
    give_loss(model)
    loss = model(collate(make_rows([9, 5]), []))
    loss.backward()
    assert loss.item() == 0.0
    grads = [p.grad for p in model.parameters()]
    assert all(grad is not None and not grad.any() for grad in grads)
