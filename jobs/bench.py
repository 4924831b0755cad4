"""Measure speed on this machine, or what bfloat16 changes: python jobs/bench.py
bench=engine|peers|dtypes|finetune [bench.repeats=5] [bench.out=FILE.json] [bench.log=FILE]
"""

from typing import Any

from nuggets_ray.cli import run
from nuggets_ray.config.schema import Config


def main(config: Config) -> dict[str, Any]:
    """Import the benches, which takes seconds, once the command line is known to be right."""
    from nuggets_ray.bench import dtypes, engine, finetune, peers

    benches = {
        "engine": engine.bench,
        "peers": peers.bench,
        "dtypes": dtypes.bench,
        "finetune": finetune.bench,
    }
    return benches[config.bench.name](config)


if __name__ == "__main__":
    run(
        main,
        requires=(),
        uses=("bench", "model", "data", "prompt", "score"),
        folder=None,
    )
