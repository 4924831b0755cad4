"""Adapters as whole models: merged once over their base, for whatever takes whole models only.

A merge is named after the adapter's weights, its base's and the dtype: one trained again is merged
again.
"""

import hashlib
import logging
import os
import shutil
from dataclasses import replace

import ray

from nuggets_ray import io
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.finetune.export import merge
from nuggets_ray.model.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, own_tokenizer
from nuggets_ray.model.identity import weights_fingerprint
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.stages.cluster.workers import result_of

logger = logging.getLogger(__name__)


def as_whole_models(models: list[EvalModel], out_dir: str, dtype: str) -> list[EvalModel]:
    """Each adapter as evaluation/merged/<name>-<hash>, the others as they are."""
    whole = []
    for model in models:
        adapter = model.model.adapter_path
        if adapter is not None:
            base = replace(model.model, adapter_path=None)
            folder = RunFolder(out_dir).evaluation.merged(model.name, _key(base, adapter, dtype))
            if not io.exists(folder):
                logger.info("model %s: merging the adapter into %s", model.name, folder)
                result_of(_merge.remote(base, adapter, dtype, folder))
            model = replace(model, model=ModelConfig(folder))
        whole.append(model)
    return whole


def _key(base: ModelConfig, adapter: str, dtype: str) -> str:
    files = [name for name in ADAPTER_WEIGHTS if io.exists(io.join(adapter, name))]
    parts = (
        *(io.sha256(io.join(adapter, name)) for name in (*files, ADAPTER_CONFIG)),
        weights_fingerprint(base),
        dtype,
    )
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


@ray.remote(num_cpus=1)
def _merge(base: ModelConfig, adapter: str, dtype: str, folder: str) -> None:
    unfinished = f"{folder}.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    # what a trainer keeps to go on is no part of a model
    shutil.copytree(adapter, unfinished, ignore=shutil.ignore_patterns("checkpoint-*", "*.pt"))
    if not own_tokenizer(adapter):
        load_tokenizer(base).save_pretrained(unfinished)
    merge(base, dtype, unfinished)
    os.rename(unfinished, folder)
