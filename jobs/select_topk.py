"""Keep the best (or worst, longest, random) candidates of a scored run: out_dir/selections/<name>/.

python jobs/select_topk.py out_dir=/data/runs/first select=top_fraction select.fraction=0.05
"""

from nuggets_ray.jobs import run_job

if __name__ == "__main__":
    run_job("select")
