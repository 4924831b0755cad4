"""The study job where something is computed: the rows are scored, where data.path is given and they
are not yet, and models are trained.
"""

from typing import Any

from nuggets_ray.config.schema import Config
from nuggets_ray.stages.correlation import study_correlation
from nuggets_ray.stages.score.job import score
from nuggets_ray.studies.study import finish_study, study_run


def study(config: Config) -> dict[str, Any]:
    """Score data.path into out_dir, which does nothing where that is done, and study it.

    Returns {wrote, status, study}.
    """
    wrote = score(config)["wrote"] if config.data.path else []
    if config.study.name == "correlation":
        result = finish_study(config.out_dir, config.study.name, study_correlation(config))
    else:
        result = study_run(config.out_dir, config.study, config.seed)
    return {**result, "wrote": [*wrote, *result["wrote"]]}
