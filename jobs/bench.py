"""Measure speed on this machine, or what bfloat16 changes: python jobs/bench.py
bench=engine|peers|dtypes|finetune|race|real_matrix [bench.repeats=5] [bench.out=FILE.json]
[bench.log=FILE]
"""

from nuggets_ray.jobs import run_job

if __name__ == "__main__":
    run_job("bench")
