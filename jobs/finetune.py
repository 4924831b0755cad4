"""Fine-tune a base model on a selection of a run, or on any data: out_dir/models/<name>/.

python jobs/finetune.py out_dir=/data/runs/first finetune.selection=golden finetune=full
"""

from pathlib import PurePath

from nuggets_ray.cli import run
from nuggets_ray.config import Config
from nuggets_ray.stages.finetune import finetune


def folder(config: Config) -> tuple[str, str]:
    """The folder under models/, by the key that names it."""
    name = config.finetune.name or config.finetune.selection or PurePath(config.data.path).stem
    return "finetune.name", name


if __name__ == "__main__":
    run(finetune, uses=("model", "data", "prompt", "finetune", "cluster"), folder=folder)
