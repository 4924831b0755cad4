"""Every stage in turn, skipping what is done: score, then the selections that are compared with the
golden one.
"""

from dataclasses import replace
from typing import Any

from nuggets_ray.config import Config
from nuggets_ray.stages.cluster import connected
from nuggets_ray.stages.score import check_inputs, score
from nuggets_ray.stages.select import select_candidates
from nuggets_ray.stages.separation import report_separation


def pipeline(config: Config) -> dict[str, Any]:
    """Score the data of `config` and select golden, bottom, longest and random rows; the demo
    prints its report too.

    Returns the summary of scoring, with everything written.
    """
    check_inputs(config)
    with connected(config.cluster):
        result = score(config)
        selections = [config.select]
        for by, order in (("golden_score", "bottom"), ("longest", "top"), ("random", "top")):
            selections.append(replace(config.select, by=by, order=order, name=None))
        for selection in selections:
            result["wrote"] += select_candidates(replace(config, select=selection))["wrote"]
        if config.data.path == "demo":
            result["wrote"] += report_separation(config)["wrote"]
    return result
