"""What the tests of evaluation share: a model that vLLM takes too, a run with three trained models,
and files in the formats of the benchmarks.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from score_runs import score_overrides

CATEGORIES = ("math", "writing", "coding")


def make_model(tiny_model: Path, folder: Path) -> Path:
    """The tiny model, with heads that vLLM's attention takes on a CPU."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(tiny_model, folder)
    config = LlamaConfig.from_pretrained(tiny_model, head_dim=32)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def pipeline_overrides(data: Path, model: Path, out_dir: Path, *more: str) -> list[str]:
    """Score, select four rows, train two steps on each of three selections, evaluate."""
    return score_overrides(
        data,
        model,
        out_dir,
        "cluster.num_workers=1",
        "anchors.num=4",
        "data.holdout=12",
        "select=top_k",
        "select.k=4",
        "finetune.selections=[golden,random-0,random-1-tokens]",
        "finetune.batch_rows=4",
        "finetune.min_steps=2",
        "finetune.max_steps=2",
        "finetune.learning_rate=1e-3",
        "finetune.dtype=float32",
        *more,
    )


def evaluate_overrides(out_dir: Path, *more: str) -> list[str]:
    """Short answers by transformers, in the dtype of the run."""
    return [
        f"out_dir={out_dir}",
        "generate.backend=transformers",
        "generate.max_tokens=12",
        "cluster.address=local",
        "cluster.num_workers=1",
        "cluster.object_store_gib=0.15",
        *more,
    ]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_alpaca_prompts(path: Path, num_prompts: int) -> Path:
    rows = [
        {"instruction": f"Write {i} words about {'rain ' * (i % 4)}.", "dataset": f"set{i % 2}"}
        for i in range(num_prompts)
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def write_questions(path: Path, num_questions: int) -> Path:
    rows = [
        {"question_id": 81 + i, "category": CATEGORIES[i % 3], "turns": [f"Ask {i}?", "And why?"]}
        for i in range(num_questions)
    ]
    return write_lines(path, rows)


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def results_of(out_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out_dir / "evaluation" / "results.json").read_bytes())
    return found
