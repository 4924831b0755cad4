"""The demo's report: the best and worst candidates, and how well the golden score tells whole from
damaged ones.

Needs a run whose rows carry `damage`, `source_row` and `category`, as data.path=demo does. Beside
the golden score stand answer length and plain perplexity of the answer, which this stage computes
on one replica.
"""

import json
import logging
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import Config
from nuggets_ray.demo.separation import (
    describe,
    format_best_and_worst,
    format_separation,
    measures_of,
    separation,
    stand_for_all,
)
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.model.load import load_tokenizer, resolve_model
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.run.candidates import read_candidate_ids
from nuggets_ray.run.joined import read_rows
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest
from nuggets_ray.run.rounds import pilot_ids
from nuggets_ray.run.scores import read_scores
from nuggets_ray.stages.cluster.workers import Workers, connected, result_of
from nuggets_ray.stages.evaluate.likelihood import mean_log_probs
from nuggets_ray.stages.score.worker import Setup, model_task

logger = logging.getLogger(__name__)

SCORES = [
    "example_id",
    "content_id",
    "golden_score",
    "score_low",
    "score_high",
    "mean_delta",
    "num_answer_tokens",
]


def report_separation(config: Config) -> dict[str, Any]:
    """Print the demo's tables and write separation.json; run after scoring. Returns {wrote,
    status}.
    """
    candidates = set(read_candidate_ids(config.out_dir).example_id_N.tolist())
    tables = read_scores(config.out_dir, SCORES)
    # scores of an earlier, larger data.limit stay
    scores = [row for t in tables for row in t.to_pylist() if row["example_id"] in candidates]
    pilot = pilot_ids(config.out_dir)
    comparable = stand_for_all(scores, set() if pilot is None else set(pilot.tolist()))
    if len(comparable) < len(scores):
        logger.warning(
            "the race left rows without a golden score: the demo's report is of the %d that it "
            "drew at random to meet every anchor",
            len(comparable),
        )
    scores = comparable
    example_ids = [score["example_id"] for score in scores]
    rows = [json.loads(text) for text in read_rows(config.out_dir, np.array(example_ids))]
    uri = RunFolder(config.out_dir).separation
    known: dict[str, float] = io.read_json(uri)["perplexity"] if io.exists(uri) else {}
    if set(example_ids) - set(known):
        with connected(config.cluster) as workers:
            perplexity_N = _perplexity(_setup(config, workers), rows, workers)
        known = dict(zip(example_ids, perplexity_N.tolist(), strict=True))
    lines = separation(
        measures_of(scores, known),
        np.array([row["damage"] for row in rows]),
        np.array([row["source_row"] for row in rows]),
        seed=config.seed,
    )
    described = [describe(score, row) for score, row in zip(scores, rows, strict=True)]
    print(format_best_and_worst(described))
    print(
        "\nHow often a whole example scores above a damaged one (AUC [95% interval]; 0.5 is "
        "chance):"
    )
    print(format_separation(lines))
    write_json(uri, {"separation": [asdict(line) for line in lines], "perplexity": known})
    return {"wrote": [uri], "status": "done"}


def _setup(config: Config, workers: Workers) -> Setup:
    """The workers' set-up with the dtype and data format that the run was scored with."""
    manifest = read_manifest(config.out_dir)
    if manifest is None:
        raise UserError(
            f"out_dir={config.out_dir} holds no run: score it first, with {job_command('score')}"
        )
    config = replace(config, model=resolve_model(config.model))
    max_tokens = config.prompt.max_demonstration_tokens
    dtype, data_format = manifest["fingerprint"]["dtype"], manifest["data_format"]
    gpus = workers.gpus_per_worker
    return Setup(config, "separation", workers.device, dtype, data_format, max_tokens, gpus)


def _perplexity(setup: Setup, rows: list[dict[str, Any]], workers: Workers) -> np.ndarray:
    """Perplexity of each row's answer given its own prompt, without any demonstration:
    shape (N,).
    """
    prompt = make_prompt(load_tokenizer(setup.config.model), setup.config.prompt)
    examples = [setup.rules.parse(row) for row in rows]
    encodings = [prompt.alone(example) for example in examples]
    task = model_task(mean_log_probs, setup, workers)
    perplexity_N: np.ndarray = np.exp(-result_of(task.remote(setup, encodings)))
    return perplexity_N
