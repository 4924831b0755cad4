"""What a scoring run would do and cost, before it does: python jobs/plan.py (keys of score.py)"""

from nuggets_ray.jobs import run_job

if __name__ == "__main__":
    run_job("plan")
