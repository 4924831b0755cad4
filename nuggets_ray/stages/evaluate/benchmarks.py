"""evaluate=lm_eval: EleutherAI's harness, one model after another."""

import logging

import ray

from nuggets_ray.evaluate.benchmarks import lm_eval
from nuggets_ray.evaluate.report import Outcome
from nuggets_ray.io import write_json
from nuggets_ray.stages.cluster.workers import result_of
from nuggets_ray.stages.evaluate.context import Context

logger = logging.getLogger(__name__)


def run_lm_eval(context: Context) -> Outcome:
    """The harness's tasks, one model after another; its own results are kept as they are."""
    config = context.config
    path = config.evaluate.tasks_path
    data = {} if path is None else {"tasks": lm_eval.tasks_sha256(path)}
    task = ray.remote(max_calls=1)(lm_eval.run_tasks).options(**context.workers.ray_options)
    results, wrote = [], []
    for model in context.models:
        uri = context.folder.lm_eval(model.name)
        logger.info("model %s: %s", model.name, ", ".join(config.evaluate.tasks))
        scored = result_of(
            task.remote(
                model.model, config.evaluate, context.dtype, context.workers.device, config.seed
            )
        )
        write_json(uri, scored)
        wrote.append(uri)
        results += lm_eval.to_results(model.name, scored, data)
    return Outcome(results, wrote)
