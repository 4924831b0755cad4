"""Measure speed on this machine, or what bfloat16 changes: python jobs/bench.py
bench=engine|peers|dtypes|finetune [bench.repeats=5] [bench.out=FILE.json]
"""

from nuggets_ray.bench import dtypes, engine, finetune, peers
from nuggets_ray.cli import run

BENCHES = {
    "engine": engine.bench,
    "peers": peers.bench,
    "dtypes": dtypes.bench,
    "finetune": finetune.bench,
}

if __name__ == "__main__":
    run(
        lambda config: BENCHES[config.bench.name](config),
        requires=(),
        uses=("bench", "model", "data", "prompt", "score"),
        folder=None,
    )
