"""The model card, models/<name>/README.md: what was trained on what, how, and with which result."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nuggets_ray.config.finetune import FinetuneConfig

VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's --max-lora-rank takes."""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the card says beside the hyperparameters; counts of rows and of answer tokens.

    `num_workers`: {first step of those that as many workers took: how many}.
    """

    name: str
    base_model: str
    source: str
    num_rows: int
    num_held_out: int
    num_too_long: int
    skipped: Mapping[str, int]
    template: str
    dtype: str
    num_workers: Mapping[int, int]
    num_steps: int
    epochs: float
    tokens_a_step: int
    answer_tokens_a_step: int
    first_loss: float
    last_loss: float
    eval_loss: float | None
    exported_step: int
    selection: Mapping[str, Any] | None
    score: Mapping[str, Any] | None
    versions: Mapping[str, str]


def model_card(facts: CardFacts, config: FinetuneConfig) -> str:
    """The card as Markdown with the front matter that the Hugging Face hub reads."""
    library = "peft" if config.method == "lora" and not config.lora_merge else "transformers"
    sections = [
        f"---\nbase_model: {json.dumps(facts.base_model)}\nlibrary_name: {library}\n"
        "pipeline_tag: text-generation\ntags: [nuggets_ray, instruction-tuning]\n---\n",
        f"# {facts.name}\n",
        f"{facts.base_model}, fine-tuned ({config.method}) by nuggets_ray on {facts.num_rows:,} "
        f"rows of {facts.source}.\n",
        "## Data\n",
        _list(
            {
                "rows": f"{facts.num_rows:,}",
                "rows over the limit": f"{facts.num_too_long:,} ({config.on_too_long})",
                "rows that could not be used": json.dumps(dict(facts.skipped)),
                "held-out rows, never trained on": f"{facts.num_held_out:,}",
                "prompt": f"{facts.template}; the loss is on every assistant turn",
            }
        ),
    ]
    if facts.selection is not None:
        told = {key: value for key, value in facts.selection.items() if key != "num_answer_tokens"}
        sections += ["## Selection\n", _block(told)]
    if facts.score is not None:
        sections += ["## Score settings\n", _block(facts.score)]
    sections += [
        "## Training\n",
        _list(
            {
                "steps": f"{facts.num_steps} of {config.batch_rows} rows at most "
                f"({facts.epochs:.2f} epochs)",
                "tokens a step": f"{facts.tokens_a_step:,}, of which answers "
                f"{facts.answer_tokens_a_step:,}",
                "dtype": facts.dtype,
                "workers": ", ".join(
                    f"{num} from step {step} on" if step > 1 else str(num)
                    for step, num in facts.num_workers.items()
                ),
                "loss of the first and the last step": f"{facts.first_loss:.4f}, "
                f"{facts.last_loss:.4f}",
                "loss on the held-out rows": "-"
                if facts.eval_loss is None
                else f"{facts.eval_loss:.4f}",
                "exported after step": str(facts.exported_step),
            }
        ),
        _block(asdict(config)),
        "## Versions\n",
        _list(facts.versions),
        "## Serve it\n",
        f"In the folder that holds `{facts.name}`:\n",
        f"```bash\n{_serving(facts, config)}\n```\n",
    ]
    return "\n".join(sections)


def _serving(facts: CardFacts, config: FinetuneConfig) -> str:
    """vLLM's command. An adapter is served over its base, by its own name, with its own template
    and end of an answer: vLLM would take the base's.
    """
    if config.method != "lora" or config.lora_merge:
        return f"vllm serve ./{facts.name} --served-model-name {facts.name}"
    rank = next((rank for rank in VLLM_RANKS if rank >= config.lora_rank), None)
    if rank is None:
        return (
            f"# vLLM takes no adapter of rank {config.lora_rank}: train with "
            "finetune.lora_merge=true, which exports whole weights"
        )
    return (
        f"vllm serve {shlex.quote(facts.base_model)} --enable-lora --max-lora-rank {rank} "
        f"--lora-modules {facts.name}=./{facts.name} --tokenizer ./{facts.name} "
        f"--generation-config ./{facts.name}"
    )


def _list(values: Mapping[str, str]) -> str:
    return "".join(f"- {key}: {value}\n" for key, value in values.items())


def _block(value: Mapping[str, Any]) -> str:
    return f"```json\n{json.dumps(value, indent=1, ensure_ascii=False)}\n```\n"
