"""Evaluate the models of a run, or any others: out_dir/evaluation/results.json.

python jobs/evaluate.py out_dir=/data/runs/first evaluate=likelihood evaluate.models=[base,golden]
"""

from nuggets_ray.cli import run
from nuggets_ray.stages.evaluate import evaluate

if __name__ == "__main__":
    run(
        evaluate,
        uses=("model", "data", "prompt", "score", "evaluate", "generate", "judge", "cluster"),
        folder=None,  # results.json is kept over all evaluations of a run
    )
