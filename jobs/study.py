"""What a score is worth, studied on a scored run: out_dir/studies/NAME/.

python jobs/study.py study=anchor_robustness out_dir=/data/runs/first
"""

from nuggets_ray.jobs import run_job

if __name__ == "__main__":
    run_job("study")
