"""A run as one page for a browser, report/index.html, with its pictures.

python jobs/report.py out_dir=/data/runs/first
"""

from nuggets_ray.jobs import run_job

if __name__ == "__main__":
    run_job("report")
