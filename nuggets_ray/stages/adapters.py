"""Adapters as whole models: merged once over their base, for whatever takes whole models only."""

import logging
import os
import shutil
from dataclasses import replace

import ray

from nuggets_ray import io
from nuggets_ray.config import ModelConfig
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.finetune.export import merge
from nuggets_ray.stages.cluster import result_of

logger = logging.getLogger(__name__)


def as_whole_models(models: list[EvalModel], out_dir: str, dtype: str) -> list[EvalModel]:
    """Each adapter as evaluation/merged/<name>, the others as they are."""
    whole = []
    for model in models:
        if model.adapter is not None:
            folder = io.join(out_dir, "evaluation", "merged", model.name)
            if not io.exists(folder):
                logger.info("model %s: merging the adapter into %s", model.name, folder)
                result_of(_merge.remote(model, dtype, folder))
            model = replace(model, model=ModelConfig(folder), adapter=None)
        whole.append(model)
    return whole


@ray.remote(num_cpus=1)
def _merge(model: EvalModel, dtype: str, folder: str) -> None:
    assert model.adapter is not None
    unfinished = f"{folder}.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(model.adapter, unfinished)
    merge(model.model, dtype, unfinished)
    os.rename(unfinished, folder)
