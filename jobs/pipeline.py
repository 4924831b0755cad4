"""Every stage in turn, skipping what is done: python jobs/pipeline.py experiment=demo [key=value
...]
"""

from nuggets_ray.cli import run
from nuggets_ray.keys import sections
from nuggets_ray.stages.pipeline import pipeline

if __name__ == "__main__":
    run(
        pipeline,
        requires=("data.path", "model.path", "out_dir"),
        uses=tuple(section for section in sections() if section != "bench"),
    )
