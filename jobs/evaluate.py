"""Evaluate the models of a run, or any others: out_dir/evaluation/results.json.

python jobs/evaluate.py out_dir=/data/runs/first evaluate=likelihood evaluate.models=[base,golden]
"""

from nuggets_ray.jobs import run_job

if __name__ == "__main__":
    run_job("evaluate")
