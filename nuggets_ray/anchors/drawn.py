"""Anchors drawn from the candidates: which a rule can choose from, and their rows as examples."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from nuggets_ray.anchors.kmeans import embed, kmeans_ids
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model
from nuggets_ray.records import Example
from nuggets_ray.run.joined import read_rows

MAX_KMEANS_ROWS = 50_000
"""K-means clusters a random sample of this many candidates: their hidden states must fit a worker's
memory.
"""


def drawn_examples(out_dir: str, ids: Sequence[str], rules: Rules) -> list[Example]:
    """The candidates of these example_ids, in the order given."""
    return [rules.parse(json.loads(row)) for row in read_rows(out_dir, np.array(ids))]


def nearest_to_centres(
    model: ModelConfig,
    dtype: str,
    device: str,
    token_ids: Mapping[str, np.ndarray],
    num: int,
    seed: int,
) -> list[str]:
    """The `num` candidates of {content_id: token ids} that k-means of the model's hidden states
    chooses. Raises UserError where transformers cannot load the model.
    """
    try:
        loaded = load_model(model, dtype, device)
    except (UserError, torch.OutOfMemoryError) as error:
        raise UserError(
            f"anchors=kmeans takes hidden states from transformers, which cannot load "
            f"model.path={model.path} here ({error}): take anchors=random or anchors=file"
        ) from error
    return kmeans_ids(list(token_ids), embed(loaded, list(token_ids.values())), num, seed)
