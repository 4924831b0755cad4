"""Every stage in turn, skipping what is done: python jobs/pipeline.py experiment=demo [key=value
...]
"""

from typing import Any

from nuggets_ray.cli import run
from nuggets_ray.config.keys import sections
from nuggets_ray.config.schema import Config


def main(config: Config) -> dict[str, Any]:
    """Import the job, which takes seconds, once the command line is known to be right."""
    from nuggets_ray.stages.pipeline import pipeline

    return pipeline(config)


if __name__ == "__main__":
    run(
        main,
        requires=("data.path", "model.path", "out_dir"),
        uses=tuple(section for section in sections() if section != "bench"),
    )
