"""Score an instruction dataset: python jobs/score.py data.path=FILE model.path=DIR out_dir=DIR
[key=value ...]
"""

from nuggets_ray.cli import run
from nuggets_ray.stages.score import score

if __name__ == "__main__":
    run(
        score,
        requires=("data.path", "model.path", "out_dir"),
        uses=("model", "data", "prompt", "anchors", "score", "schedule", "cluster"),
    )
