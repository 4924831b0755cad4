"""The study job where something is computed first: the rows are scored, where they are not yet."""

import logging
from typing import Any

from nuggets_ray.config.schema import Config
from nuggets_ray.stages.score.job import score
from nuggets_ray.studies.study import study_run

logger = logging.getLogger(__name__)


def study(config: Config) -> dict[str, Any]:
    """Score the data of `config` into out_dir, which does nothing where that is done, and study it.

    Returns {wrote, status, study}.
    """
    scored = score(config)
    result = study_run(config.out_dir, config.study, config.seed)
    return {**result, "wrote": [*scored["wrote"], *result["wrote"]]}
