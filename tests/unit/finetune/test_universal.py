"""When a checkpoint is converted for another number of workers; what reading it may not spoil."""

from types import SimpleNamespace

import pytest
import torch
from train_runs import zero

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.finetune.universal import needs_conversion, own_groups, reads_only_its_own


@pytest.mark.parametrize(
    ("stage", "saved_by", "needs"),
    [(2, None, False), (2, 2, False), (0, 1, False), (1, 1, True), (2, 3, True), (3, 4, True)],
)
def test_parts_of_another_number_of_workers_are_put_together(
    stage: int, saved_by: int | None, needs: bool
) -> None:
    assert needs_conversion(FinetuneConfig(deepspeed=zero(stage)), saved_by, 2) is needs


@pytest.mark.parametrize("what", ["optimizer", "param"])
def test_what_lies_on_nvme_is_each_worker_s_own(what: str) -> None:
    def offloaded(device: str) -> FinetuneConfig:
        return FinetuneConfig(deepspeed=zero(3, **{f"offload_{what}": {"device": device}}))

    assert f"offload_{what}.device=nvme" in (reads_only_its_own(offloaded("nvme")) or "")
    assert reads_only_its_own(offloaded("cpu")) is None
    assert reads_only_its_own(FinetuneConfig()) is None


def test_each_group_keeps_its_weight_decay_and_each_weight_its_count_of_steps() -> None:
    """DeepSpeed's reading under ZeRO 3, by hand: one group's settings, one count for all."""
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    groups = [{"params": [w], "weight_decay": d} for w, d in zip(weights, (0.3, 0.0), strict=True)]
    base = torch.optim.AdamW(groups, lr=0.1)
    optimizer = SimpleNamespace(param_groups=base.param_groups, optimizer=base)
    with own_groups(optimizer):
        count = torch.tensor(3.0)
        for group in base.param_groups:
            group["weight_decay"] = 0.3
        for weight in weights:
            moments = {"exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}
            base.state[weight] = {"step": count, **moments}
    for weight in weights:
        weight.grad = torch.ones(2)
    base.step()
    assert [group["weight_decay"] for group in base.param_groups] == [0.3, 0.0]
    assert [base.state[weight]["step"].item() for weight in weights] == [4.0, 4.0]
