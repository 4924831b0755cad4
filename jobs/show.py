"""Rows of a scored run on the terminal, with the anchors that they helped and hurt most.

python jobs/show.py out_dir=/data/runs/first show.order=bottom show.num=3
"""

from nuggets_ray.jobs import run_job

if __name__ == "__main__":
    run_job("show")
