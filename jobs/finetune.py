"""Fine-tune a base model on a selection of a run, or on any data: out_dir/models/<name>/.

python jobs/finetune.py out_dir=/data/runs/first finetune.selection=golden finetune=full
"""

from pathlib import PurePath
from typing import Any

from nuggets_ray.cli import run
from nuggets_ray.config.schema import Config


def folder(config: Config) -> tuple[str, str]:
    """The folder under models/, by the key that names it."""
    name = config.finetune.name or config.finetune.selection or PurePath(config.data.path).stem
    return "finetune.name", name


def main(config: Config) -> dict[str, Any]:
    """Import the job, which takes seconds, once the command line is known to be right."""
    from nuggets_ray.stages.finetune.job import finetune

    return finetune(config)


if __name__ == "__main__":
    run(main, uses=("model", "data", "prompt", "finetune", "cluster"), folder=folder)
