"""A matrix of real rows for the race and the studies: cut a dataset, score, keep the numbers.

    python -m nuggets_ray.bench.matrix split rows.json WORK --candidates 500 --anchors 100
    python jobs/score.py data.path=WORK/candidates.jsonl anchors=file \\
        anchors.path=WORK/anchors.jsonl model=demo out_dir=WORK/run score.dtype=bfloat16
    python -m nuggets_ray.bench.matrix keep WORK/run nuggets_ray/bench/matrices/NAME.npz

`keep` writes numbers only, no text: delta_NA (nats), demo_tokens_N, anchor_tokens_A,
answer_tokens_A.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from nuggets_ray.anchors.random import random_ids
from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.data.read import read_examples
from nuggets_ray.demo.model import demo_folder
from nuggets_ray.errors import UserError
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.records import Example
from nuggets_ray.run.open_run import open_run

MAX_ANCHOR_TOKENS = 96


def split(
    examples: list[Example], prompt: Prompt, num_candidates: int, num_anchors: int, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """Candidates and anchors, drawn by hash without overlap: anchors are the first that have at
    most `MAX_ANCHOR_TOKENS` tokens with their prompt. Raises UserError where there are too few.
    """
    by_id = {example.content_id: example for example in examples}
    order = random_ids(list(by_id), len(by_id), seed)
    short = [one for one in order if prompt.anchor(by_id[one]).num_tokens <= MAX_ANCHOR_TOKENS][
        :num_anchors
    ]
    rest = [one for one in order if one not in set(short)][:num_candidates]
    if len(short) < num_anchors or len(rest) < num_candidates:
        raise UserError(
            f"{len(by_id)} distinct rows give {len(short)} anchors of at most {MAX_ANCHOR_TOKENS} "
            f"tokens and {len(rest)} candidates: ask for fewer, or give more rows"
        )
    return [by_id[one] for one in rest], [by_id[one] for one in short]


def numbers(out_dir: str) -> dict[str, np.ndarray]:
    """The arrays of a run that is scored in full. Raises UserError where a log-prob is missing."""
    run = open_run(out_dir)
    matrix = run.matrix()
    if not np.isfinite(matrix.one_shot_NA).all():
        raise UserError(f"{out_dir}: not every pair is scored; run it with schedule=full first")
    anchors = run.anchors
    scores = run.scores()
    return {
        "delta_NA": matrix.delta_NA.astype(np.float32),
        "demo_tokens_N": (
            scores["num_prompt_tokens"].to_numpy() + scores["num_answer_tokens"].to_numpy()
        ).astype(np.int32),
        "anchor_tokens_A": np.array([len(i) for i in anchors["token_ids"].to_pylist()], np.int32),
        "answer_tokens_A": anchors["num_answer_tokens"].to_numpy().astype(np.int32),
    }


def main() -> None:
    """Run `split` or `keep` of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    doors = parser.add_subparsers(dest="door", required=True)
    one = doors.add_parser("split")
    one.add_argument("rows")
    one.add_argument("work", type=Path)
    one.add_argument("--candidates", type=int, default=500)
    one.add_argument("--anchors", type=int, default=100)
    one = doors.add_parser("keep")
    one.add_argument("run")
    one.add_argument("file", type=Path)
    given = parser.parse_args()
    if given.door == "keep":
        np.savez_compressed(given.file, allow_pickle=False, **numbers(given.run))
        return
    examples = [read.example for read in read_examples(given.rows).examples]
    candidates, anchors = split(examples, _demo_prompt(), given.candidates, given.anchors)
    given.work.mkdir(parents=True, exist_ok=True)
    for name, examples in (("candidates", candidates), ("anchors", anchors)):
        text = "".join(json.dumps(_row(example)) + "\n" for example in examples)
        (given.work / f"{name}.jsonl").write_text(text)


def _demo_prompt() -> Prompt:
    from transformers import AutoTokenizer

    return make_prompt(AutoTokenizer.from_pretrained(demo_folder()), PromptConfig())


def _row(example: Example) -> dict[str, Any]:
    return {"messages": [{"role": one.role, "content": one.content} for one in example.messages]}


if __name__ == "__main__":
    main()
