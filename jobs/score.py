"""Score an instruction dataset: python jobs/score.py data.path=FILE model.path=DIR out_dir=DIR
[key=value ...]
"""

from nuggets_ray.jobs import run_job

if __name__ == "__main__":
    run_job("score")
