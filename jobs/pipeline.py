"""Every stage in turn, skipping what is done: python jobs/pipeline.py experiment=demo [key=value
...]
"""

from nuggets_ray.cli import run
from nuggets_ray.stages.pipeline import pipeline

if __name__ == "__main__":
    run(pipeline, requires=("data.path", "model.path", "out_dir"))
