"""Fine-tune a base model on a selection of a run, or on any data: out_dir/models/<name>/.

python jobs/finetune.py out_dir=/data/runs/first finetune.selection=golden finetune=full
"""

from nuggets_ray.jobs import run_job

if __name__ == "__main__":
    run_job("finetune")
