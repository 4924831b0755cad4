"""What a run is doing, or how it ended: asked from anywhere that sees its folder.

python jobs/status.py out_dir=/data/runs/first status.watch=true
"""

from nuggets_ray.jobs import run_job

if __name__ == "__main__":
    run_job("status")
