"""What is told of a model: its card, and its loss curve."""

import dataclasses

import pytest

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.finetune.card import CardFacts, model_card

FACTS = CardFacts(
    name="golden",
    base_model="my-org/my-model",
    source="selection golden",
    num_rows=520,
    num_held_out=20,
    num_too_long=3,
    skipped={"empty_answer": 2},
    template="chat",
    dtype="bfloat16",
    num_workers={1: 8, 31: 4},
    num_steps=30,
    epochs=14.77,
    tokens_a_step=51_200,
    answer_tokens_a_step=20_480,
    first_loss=1.5,
    last_loss=0.75,
    eval_loss=1.25,
    exported_step=30,
    selection={"settings": {"rule": "top_fraction", "fraction": 0.01}},
    score={"template": "chat abc"},
    versions={"torch": "2.13.0"},
)


def test_the_card_says_data_score_settings_and_hyperparameters() -> None:
    card = model_card(FACTS, FinetuneConfig(learning_rate=2e-5))
    assert card.startswith('---\nbase_model: "my-org/my-model"\nlibrary_name: transformers\n')
    for words in ("520 rows", '{"empty_answer": 2}', "51,200", '"fraction": 0.01', "chat abc"):
        assert words in card
    assert '"learning_rate": 2e-05' in card and "1.2500" in card
    assert card.endswith("```bash\nvllm serve ./golden --served-model-name golden\n```\n")


def test_the_card_of_an_adapter_names_peft_and_leaves_out_what_is_not_there() -> None:
    facts = dataclasses.replace(FACTS, selection=None, score=None, eval_loss=None)
    card = model_card(facts, FinetuneConfig(method="lora"))
    assert "library_name: peft" in card
    assert "Selection" not in card and "Score" not in card
    serving = "vllm serve my-org/my-model --enable-lora --max-lora-rank 16 --lora-modules"
    own = "--tokenizer ./golden --generation-config ./golden"
    assert card.endswith(f"{serving} golden=./golden {own}\n```\n")
    merged = model_card(facts, FinetuneConfig(method="lora", lora_merge=True))
    assert "library_name: transformers" in merged


@pytest.mark.parametrize(
    ("rank", "words"),
    [(1, "--max-lora-rank 1 "), (4, "--max-lora-rank 8 "), (600, "finetune.lora_merge=true")],
)
def test_the_rank_is_one_that_vllm_takes(rank: int, words: str) -> None:
    card = model_card(FACTS, FinetuneConfig(method="lora", lora_rank=rank))
    assert words in card.partition("## Serve it")[2]
