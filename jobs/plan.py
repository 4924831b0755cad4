"""What a scoring run would do and cost, before it does: python jobs/plan.py (keys of score.py)"""

from nuggets_ray.cli import run
from nuggets_ray.stages.plan import plan

if __name__ == "__main__":
    run(
        plan,
        requires=("data.path", "model.path", "out_dir"),
        uses=("model", "data", "prompt", "anchors", "score", "schedule", "cluster"),
    )
