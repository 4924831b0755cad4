"""Every stage in turn: score, which skips what is done, then the selections that are compared with
the golden one, then the models trained on those that finetune.selections names.
"""

from dataclasses import replace
from typing import Any

from nuggets_ray.config import Config, SelectConfig
from nuggets_ray.select import check_config
from nuggets_ray.stages.cluster import connected
from nuggets_ray.stages.finetune import check_finetune, finetune_selections
from nuggets_ray.stages.score import check_inputs, score
from nuggets_ray.stages.select import select_candidates
from nuggets_ray.stages.separation import report_separation


def pipeline(config: Config) -> dict[str, Any]:
    """Score the data of `config`, select by `config.select`, and as many of the bottom, longest and
    random rows; the demo prints its report too. Then fine-tune on finetune.selections, if any.

    Returns the summary of scoring, with everything written.
    """
    check_config(config.select)
    check_inputs(config)
    check_finetune(config)
    with connected(config.cluster):
        result = score(config)
        selected = select_candidates(config)
        result["wrote"] += selected["wrote"]
        for by, order in (("golden_score", "bottom"), ("longest", "top"), ("random", "top")):
            other = SelectConfig("top_k", k=selected["num_rows"], by=by, order=order)
            other = replace(other, prefix=config.select.prefix)
            result["wrote"] += select_candidates(replace(config, select=other))["wrote"]
        if config.data.path == "demo":
            result["wrote"] += report_separation(config)["wrote"]
        result["wrote"] += finetune_selections(config)
    return result
