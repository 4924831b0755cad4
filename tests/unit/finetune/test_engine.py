"""DeepSpeed gives the update of one big batch, whatever the workers, stages and accumulation; a
restart changes nothing; what is exported loses what the training lost.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import make_model
from train_runs import (
    LENGTHS,
    NO_ACCUMULATION,
    NUM_MORE,
    NUM_STEPS,
    Case,
    go_on,
    make_rows,
    run,
    zero,
)
from transformers import AutoModelForCausalLM

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.finetune.export import export_weights
from nuggets_ray.finetune.loss import collate, give_loss
from nuggets_ray.finetune.steps import learning_rate

pytestmark = pytest.mark.long

BASE = {"learning_rate": 3e-3, "warmup_fraction": 0.0}
LORA = {"method": "lora", "lora_dropout": 0.3, "lora_rank": 4}
Z2, Z3 = FinetuneConfig(**BASE, deepspeed=zero(2)), FinetuneConfig(**BASE, deepspeed=zero(3))
ADAM = replace(Z2, adam_beta1=0.5, adam_beta2=0.9, adam_eps=1e-3)
OFFLOAD = {"offload_optimizer": {"device": "cpu"}}


DECAY = BASE | {"weight_decay": 0.3}
LESS_RANDOM = LORA | {"lora_dropout": 0.0}
OTHER_COUNTS = {
    "decay2": Case("decay2", "", FinetuneConfig(**DECAY, deepspeed=zero(2))),
    "decay3": Case("decay3", "", FinetuneConfig(**DECAY, deepspeed=zero(3))),
    "steady3": Case("steady3", "", FinetuneConfig(**DECAY, **LESS_RANDOM, deepspeed=zero(3))),
}


def less(stage: int) -> FinetuneConfig:
    """Gradients go between workers in bfloat16."""
    return FinetuneConfig(**BASE, deepspeed=zero(stage), communication_data_type="bfloat16")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("llama")
    make_model("llama").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose head is its embedding, in a file of its own."""
    folder = tmp_path_factory.mktemp("tied")
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=61, num_attention_heads=4, tie_word_embeddings=True, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def two(model: str, tied: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    overfit = FinetuneConfig(**BASE | {"learning_rate": 3e-2}, deepspeed=zero(2))
    cases = [
        Case("zero2", model, Z2),
        Case("zero2_one_batch", model, Z2, max_tokens=NO_ACCUMULATION),
        Case("zero3", model, Z3),
        Case("uneven", model, Z2, lengths=LENGTHS[:3], max_tokens=1),
        Case("lora2", model, FinetuneConfig(**BASE, **LORA, deepspeed=zero(2))),
        Case("lora3", model, FinetuneConfig(**BASE, **LORA, deepspeed=zero(3))),
        Case("tied2", tied, Z2, dtype="bfloat16"),
        Case("tied3", tied, Z3, dtype="bfloat16"),
        Case("overfit", model, overfit, num_steps=60),
        Case("adam", model, ADAM),
        Case("bf16", model, Z2, dtype="bfloat16"),
        *(replace(case, model=model) for case in OTHER_COUNTS.values()),
        *(Case(f"bf16_less{stage}", model, less(stage), dtype="bfloat16") for stage in (0, 2, 3)),
    ]
    return run(cases, 2, tmp_path_factory.mktemp("two"))


def by_hand(model: str, lengths: list[int] = LENGTHS, config: FinetuneConfig = Z2) -> list[float]:
    """The same training in plain torch: one batch, float32, AdamW, clipped."""
    twin = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).train()
    give_loss(twin)
    rows = make_rows(lengths)
    batch = collate(rows, np.arange(rows.num_rows))
    betas = (config.adam_beta1, config.adam_beta2)
    adam = dict(betas=betas, eps=config.adam_eps, weight_decay=0.0)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1.0, **adam)
    losses = []
    for step in range(NUM_STEPS):
        loss = twin(batch) / rows.num_answer_tokens_N.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = learning_rate(Z2, step, NUM_STEPS + NUM_MORE)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_workers_and_accumulation_give_the_update_of_one_big_batch(model, two, tmp_path) -> None:
    one = run([Case("one", model, Z2, max_tokens=NO_ACCUMULATION)], 1, tmp_path)["one"]
    expected = by_hand(model)
    assert expected[0] - expected[-1] > 1, "the steps must matter"
    for found in (two["zero2"], two["zero2_one_batch"], one):
        np.testing.assert_allclose(found["losses"], expected, rtol=1e-4)
        np.testing.assert_allclose(found["norms"], one["norms"], rtol=1e-3)
        assert found["eval_loss"] == pytest.approx(one["eval_loss"], rel=1e-4)


def test_adam_s_betas_and_epsilon_are_the_given_ones(model, two) -> None:
    np.testing.assert_allclose(two["adam"]["losses"], by_hand(model, config=ADAM), rtol=1e-4)
    assert abs(two["adam"]["losses"][-1] - two["zero2"]["losses"][-1]) > 0.01


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_gradients_between_workers_are_rounded_only_where_asked(two, stage: int) -> None:
    """The first step's loss is before any reduction; its gradient is after one."""
    exact, rounded = two["bf16"], two[f"bf16_less{stage}"]
    assert rounded["losses"][0] == pytest.approx(exact["losses"][0], rel=5e-3)
    assert rounded["norms"][0] == pytest.approx(exact["norms"][0], rel=2e-2)
    np.testing.assert_allclose(rounded["losses"], exact["losses"], rtol=2e-2)
    if stage == 2:
        assert rounded["norms"][0] != exact["norms"][0]


def test_zero_3_loses_what_zero_2_loses(two) -> None:
    np.testing.assert_allclose(two["zero3"]["losses"], two["zero2"]["losses"], rtol=1e-5)
    np.testing.assert_allclose(two["lora3"]["losses"][0], two["lora2"]["losses"][0], rtol=1e-5)


def test_a_worker_without_rows_changes_nothing(model, two) -> None:
    """Three rows, each a micro-batch of its own, on two workers: one has nothing in a slot."""
    np.testing.assert_allclose(two["uneven"]["losses"], by_hand(model, LENGTHS[:3]), rtol=1e-4)


@pytest.mark.parametrize("case", ["zero2", "zero3", "lora2", "lora3", "tied2", "tied3"])
def test_a_restart_from_a_checkpoint_changes_nothing(two, case: str) -> None:
    """Weights, optimizer state, place in the data and dropout (the LoRA cases) all come back."""
    assert two[case]["resumed_losses"] == two[case]["next_losses"]


def test_fewer_workers_go_on_from_a_checkpoint_as_those_that_wrote_it(model, two) -> None:
    """Weights, moments, each group's weight decay and each weight's count of steps come back."""
    folder = Path(two["decay2"]["checkpoint"]).parent
    found = go_on([replace(case, model=model) for case in OTHER_COUNTS.values()], 1, 2, folder)
    for name in OTHER_COUNTS:
        expected = two[name]["next_losses"]
        np.testing.assert_allclose(found[name]["resumed_losses"], expected, rtol=1e-5, err_msg=name)


def test_a_tiny_model_overfits_eight_rows(two) -> None:
    assert two["overfit"]["losses"][-1] < 0.1 < 5 < two["overfit"]["losses"][0]


def exported_loss(folder: Path) -> float:
    """Mean loss per answer token of an exported model, row by row, whole logits, plain library."""
    twin = AutoModelForCausalLM.from_pretrained(folder).eval()
    rows = make_rows(LENGTHS)
    total = 0.0
    with torch.no_grad():
        for index in range(rows.num_rows):
            ids, mask = rows.row(index)
            logits = twin(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].float()
            answers = np.flatnonzero(mask)
            picked = logits[answers - 1].log_softmax(-1)[range(len(answers)), ids[answers]]
            total -= picked.sum().item()
    return total / int(rows.num_answer_tokens_N.sum())


@pytest.mark.parametrize("case", ["zero2", "zero3", "tied2", "tied3"])
def test_exported_weights_reload_with_the_same_loss(
    two, model: str, tied: str, tmp_path: Path, case: str
) -> None:
    is_tied = case.startswith("tied")
    config, dtype = (Z3 if "3" in case else Z2), "bfloat16" if is_tied else "float32"
    base = ModelConfig(path=tied if is_tied else model)
    export_weights(base, config, dtype, two[case]["checkpoint"], str(tmp_path))
    loss = two[case]["eval_loss"]
    assert exported_loss(tmp_path) == pytest.approx(loss, rel=2e-3 if is_tied else 1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("case", ["lora2", "lora3"])
def test_the_adapter_and_the_merged_weights_lose_the_same(
    two, model: str, tmp_path: Path, case: str
) -> None:
    base, losses = ModelConfig(path=model), []
    for merge in (False, True):
        folder = tmp_path / str(merge)
        config = FinetuneConfig(**BASE, **LORA, deepspeed=zero(int(case[-1])), lora_merge=merge)
        export_weights(base, config, "float32", two[case]["checkpoint"], str(folder))
        assert (folder / "adapter_model.safetensors").exists() is not merge
        losses.append(exported_loss(folder))
    assert losses[0] == pytest.approx(two[case]["eval_loss"], rel=1e-5)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


SLOW = {
    "zero0": Case("zero0", "", FinetuneConfig(**BASE, deepspeed=zero(0))),
    "zero1": Case("zero1", "", FinetuneConfig(**BASE, deepspeed=zero(1))),
    "zero2": Case("zero2", "", Z2),
    "zero3": Case("zero3", "", Z3),
    "offload1": Case("offload1", "", FinetuneConfig(**BASE, deepspeed=zero(1, **OFFLOAD))),
    "offload2": Case("offload2", "", FinetuneConfig(**BASE, deepspeed=zero(2, **OFFLOAD))),
    "offload3": Case(
        "offload3",
        "",
        FinetuneConfig(**BASE, deepspeed=zero(3, offload_param={"device": "cpu"}, **OFFLOAD)),
    ),
    "again2": Case(
        "again2", "", FinetuneConfig(**BASE, deepspeed=zero(2), gradient_checkpointing=True)
    ),
    "again3": Case(
        "again3", "", FinetuneConfig(**BASE, deepspeed=zero(3), gradient_checkpointing=True)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-3)])
@pytest.mark.parametrize(("saved_by", "num_workers"), [(1, 2), (2, 1), (2, 3)])
def test_another_number_of_workers_goes_on_at_every_stage(
    model: str, tmp_path: Path, dtype: str, tolerance: float, saved_by: int, num_workers: int
) -> None:
    configs = {
        f"{'lora' if lora else 'full'}{stage}": FinetuneConfig(
            **DECAY, **(LESS_RANDOM if lora else {}), deepspeed=zero(stage)
        )
        for stage in (0, 1, 2, 3)
        for lora in (False, True)
    }
    offloads = zero(3, offload_param={"device": "cpu"}, **OFFLOAD)
    configs["offload3"] = FinetuneConfig(**DECAY, deepspeed=offloads)
    cases = [Case(name, model, config, dtype=dtype) for name, config in configs.items()]
    expected = run(cases, saved_by, tmp_path)
    for name, found in go_on(cases, num_workers, saved_by, tmp_path).items():
        losses = expected[name]["next_losses"]
        np.testing.assert_allclose(found["resumed_losses"], losses, rtol=tolerance, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 5e-3)])
def test_every_stage_loses_the_same_with_and_without_offload(
    model: str, tmp_path: Path, dtype: str, tolerance: float
) -> None:
    cases = [Case(name, model, case.config, dtype=dtype) for name, case in SLOW.items()]
    found = run(cases, 2, tmp_path)
    for name, result in found.items():
        expected = by_hand(model)
        np.testing.assert_allclose(result["losses"], expected, rtol=tolerance, err_msg=name)
        assert result["resumed_losses"] == result["next_losses"], name
        folder = tmp_path / "exported" / name
        base = ModelConfig(path=model)
        export_weights(base, SLOW[name].config, dtype, result["checkpoint"], str(folder))
        loss = pytest.approx(result["eval_loss"], rel=1e-5 if dtype == "float32" else 0.01)
        assert exported_loss(folder) == loss, name
