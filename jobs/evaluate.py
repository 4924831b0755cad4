"""Evaluate the models of a run, or any others: out_dir/evaluation/results.json.

python jobs/evaluate.py out_dir=/data/runs/first evaluate=likelihood evaluate.models=[base,golden]
"""

from typing import Any

from nuggets_ray.cli import run
from nuggets_ray.config.schema import Config


def main(config: Config) -> dict[str, Any]:
    """Import the job, which takes seconds, once the command line is known to be right."""
    from nuggets_ray.stages.evaluate.job import evaluate

    return evaluate(config)


if __name__ == "__main__":
    run(
        main,
        uses=("model", "data", "prompt", "score", "evaluate", "generate", "judge", "cluster"),
        folder=None,  # results.json is kept over all evaluations of a run
    )
