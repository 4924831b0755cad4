"""The held-out rows that all models are compared on, and the log-probs that are kept of them.

evaluation/likelihood/<model>.json {key, mean_logprob}: a row is computed once under a model.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nuggets_ray import io
from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.likelihood.paired import RowLogProbs
from nuggets_ray.evaluate.likelihood.rows import (
    HeldRow,
    read_held_rows,
    shared_prompt,
    shared_room,
    without_overlaps,
    write_held_out,
)
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.evaluate.prompt_set import set_name
from nuggets_ray.io import write_json
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Encoding
from nuggets_ray.run.layout import RunFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ComparedRows:
    """The rows, each alone under `prompt` as in training {example_id: encoding}, the file they came
    from, and why others were left out {reason: rows}.
    """

    rows: tuple[HeldRow, ...]
    encodings: Mapping[str, Encoding]
    prompt: Prompt
    path: str
    left_out: Mapping[str, int]

    @property
    def sha256(self) -> str:
        """Of the rows' ids, which are hashes of their content."""
        ids = " ".join(row.example_id for row in self.rows)
        return hashlib.sha256(ids.encode("utf-8")).hexdigest()

    def row_log_probs(self, mean_logprob: Mapping[str, float]) -> list[RowLogProbs]:
        """What a model gives each row; `mean_logprob` {example_id: nats per answer token}."""
        return [
            RowLogProbs(
                row.example_id,
                row.category,
                self.encodings[row.example_id].num_answer_tokens,
                mean_logprob[row.example_id] * self.encodings[row.example_id].num_answer_tokens,
            )
            for row in self.rows
        ]


def choose_rows(config: Config, models: list[EvalModel]) -> ComparedRows:
    """Every held-out row that no training row or anchor resembles and that fits all models; writes
    evaluation/held_out.json, or held_out-NAME.json.

    Raises UserError where there are no such rows, or the models have different tokenizers.
    """
    held = read_held_rows(config.out_dir, config.evaluate, config.data)
    rows, overlaps = without_overlaps(config.out_dir, held.rows)
    left_out = dict(held.skipped)
    for overlap in overlaps:
        left_out[overlap.reason] = left_out.get(overlap.reason, 0) + 1
    prompt = shared_prompt(models)
    encodings = {row.example_id: prompt.alone(row.example) for row in rows}
    room = shared_room(models)
    num_before = len(rows)
    rows = tuple(r for r in rows if room is None or encodings[r.example_id].num_tokens <= room)
    if num_too_long := num_before - len(rows):
        logger.warning("%d held-out rows are longer than %d tokens", num_too_long, room)
        left_out["longer_than_context"] = num_too_long
    uri = RunFolder(config.out_dir).evaluation.held_out(set_name(config.evaluate))
    write_held_out(uri, held.path, len(held.rows), len(rows), overlaps)
    if not rows:
        raise UserError(
            f"evaluate.held_out_path: no row of {held.path} can be used ({left_out}; "
            f"{uri} names the twins): give other rows"
        )
    return ComparedRows(rows, encodings, prompt, held.path, left_out)


def read_kept(uri: str, key: Mapping[str, Any]) -> dict[str, float]:
    """{example_id: mean log-prob} kept under the same `key` (weights, prompt, ...), else {}."""
    if not io.exists(uri):
        return {}
    kept: dict[str, Any] = io.read_json(uri)
    return dict(kept["mean_logprob"]) if kept["key"] == key else {}


def write_kept(uri: str, key: Mapping[str, Any], mean_logprob: Mapping[str, float]) -> None:
    """Keep {example_id: mean log-prob} for read_kept."""
    write_json(uri, {"key": key, "mean_logprob": mean_logprob})
