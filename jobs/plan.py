"""What a scoring run would do and cost, before it does: python jobs/plan.py (keys of score.py)"""

from typing import Any

from nuggets_ray.cli import run
from nuggets_ray.config.schema import Config


def main(config: Config) -> dict[str, Any]:
    """Import the job, which takes seconds, once the command line is known to be right."""
    from nuggets_ray.stages.score.plan import plan

    return plan(config)


if __name__ == "__main__":
    run(
        main,
        requires=("data.path", "model.path", "out_dir"),
        uses=("model", "data", "prompt", "anchors", "score", "schedule", "cluster"),
    )
