"""Anchors drawn from the candidates: which a rule can choose from, and their rows as examples."""

import json
from collections.abc import Sequence

import numpy as np
import torch

from nuggets_ray.anchors.kmeans import embed
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model
from nuggets_ray.records import Example
from nuggets_ray.run.candidates import candidate_batches
from nuggets_ray.run.joined import read_rows

MAX_KMEANS_ROWS = 50_000
"""K-means clusters a random sample of this many candidates: their hidden states must fit a worker's
memory.
"""
FILE_FIELD = "source_path"
MAX_FIELDS = 12


def drawn_examples(out_dir: str, ids: Sequence[str], rules: Rules) -> list[Example]:
    """The candidates of these example_ids, in the order given."""
    return [rules.parse(json.loads(row)) for row in read_rows(out_dir, np.array(ids))]


def strata_by_field(out_dir: str, field: str) -> dict[str, str]:
    """{content_id: what its row holds in `field`, as text} of all candidates; "" where it holds
    nothing. A copy counts as its first row does. `source_path` is the file of a row that has no
    such field. Raises UserError for a field that no row has, with those there are.
    """
    strata: dict[str, str] = {}
    fields: dict[str, None] = {}
    is_there = field == FILE_FIELD
    for batch in candidate_batches(out_dir, ["content_id", FILE_FIELD, "row_json"]):
        columns = (batch[name].to_pylist() for name in ("content_id", FILE_FIELD, "row_json"))
        for content_id, path, text in zip(*columns, strict=True):
            if content_id in strata:
                continue
            row = json.loads(text)
            row = row if isinstance(row, dict) else {}
            fields |= dict.fromkeys(row)
            is_there |= field in row
            value = row.get(field, path if field == FILE_FIELD else None)
            strata[content_id] = "" if value is None else _as_text(value)
    if not is_there:
        raise UserError(
            f"anchors.per={field}: no row has this field; the rows have "
            f"{', '.join(list(fields)[:MAX_FIELDS])}, and {FILE_FIELD} is a row's file"
        )
    return strata


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def hidden_states(
    model: ModelConfig, dtype: str, device: str, method: str, token_ids: Sequence[np.ndarray]
) -> np.ndarray:
    """The vectors that k-means clusters, (N, H). Raises UserError where transformers cannot load
    the model.
    """
    try:
        loaded = load_model(model, dtype, device)
    except (UserError, torch.OutOfMemoryError) as error:
        raise UserError(
            f"anchors={method} takes hidden states from transformers, which cannot load "
            f"model.path={model.path} here ({error}): take anchors=random or anchors=file"
        ) from error
    return embed(loaded, token_ids)
