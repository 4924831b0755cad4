"""Which selection each model was trained on, as it was when its training began.

finetune.json of the model says so; selections/ as it is now may hold other rows under that name.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nuggets_ray import io
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.run.job_configs import read_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.selections import Record, answer_lengths, make_record, read_selection

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainedSelection:
    """The selection that a model was trained on: every select.* key, and the answer tokens of its K
    rows, ascending."""

    settings: Mapping[str, Any]
    num_answer_tokens_K: np.ndarray


def trained_selections(out_dir: str, names: Iterable[str]) -> dict[str, TrainedSelection]:
    """{model: its selection} for those of the names that are models of the run trained on one.

    A model trained before finetune.json kept it: selections/ is read with a warning, or left out
    with one where its rows are not those any more.
    """
    selections = {}
    for name in names:
        uri = RunFolder(out_dir).model(name).record
        if not io.exists(uri):
            continue  # the base, or a folder from elsewhere
        done = io.read_json(uri)
        record = done["selection"] if "selection" in done else _as_it_is_now(out_dir, name, done)
        if record is not None:
            # a record without select.unique is of an earlier version, which kept copies
            settings = asdict(SelectConfig(unique=False)) | record.get("settings", {})
            selections[name] = TrainedSelection(settings, answer_lengths(record))
    return selections


def _as_it_is_now(out_dir: str, name: str, done: Mapping[str, Any]) -> Record | None:
    trained = read_config(out_dir, f"finetune-{name}") or {}
    selection = trained.get("finetune", {}).get("selection")
    if selection is None:
        return None
    record = None if read_selection(out_dir, selection) is None else make_record(out_dir, selection)
    hashes = done.get("settings", {}).get("rows", {}).get("sha256")
    if record is None or hashes not in (None, [record["sha256"]]):
        logger.warning(
            "models/%s: selections/%s, which it was trained on, %s, and finetune.json does not say "
            "how it was made: the model counts as trained on rows of no known kind",
            *(name, selection, "is gone" if record is None else "holds other rows since"),
        )
        return None
    logger.warning(
        "models/%s: finetune.json does not say how selections/%s, which it was trained on, was "
        "made: it is read as it is now and may have changed since",
        *(name, selection),
    )
    return record
