"""Every stage in turn, skipping what is done: python jobs/pipeline.py experiment=demo [key=value
...]
"""

from nuggets_ray.jobs import run_job

if __name__ == "__main__":
    run_job("pipeline")
