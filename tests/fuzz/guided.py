"""Coverage-guided fuzzing of the readers of files: python tests/fuzz/guided.py KIND [-runs=N]

KIND is an ending that data.path takes, such as jsonl, json.gz or parquet. Needs atheris, which is
no package of ours: pip install atheris. Other arguments are libFuzzer's: a corpus folder, -runs=,
-max_total_time=, -max_len=. It starts from files that tests/fuzz/hostile.py makes, and what it
finds it writes into the current folder.
"""

import logging
import sys
import tempfile
from pathlib import Path
from random import Random

import atheris

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parent / "support")]

NUM_SEEDS = 200

with atheris.instrument_imports(include=["nuggets_ray.data", "nuggets_ray.prepare", "json", "csv"]):
    from hostile import PACKERS, WRITERS, make_rows
    from targets import stage


def write_seeds(kind: str, folder: Path) -> None:
    """Files of the kind for the fuzzer to begin with."""
    name, _, packed = kind.partition(".")
    for seed in range(NUM_SEEDS):
        random = Random(seed)
        content = WRITERS[name](random, make_rows(random, 3))
        (folder / str(seed)).write_bytes(PACKERS[packed](content) if packed else content)


def main() -> None:
    kind, *arguments = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as temporary:
        seeds, folder = Path(temporary) / "seeds", Path(temporary) / "data"
        for made in (seeds, folder):
            made.mkdir()
        write_seeds(kind, seeds)
        path = folder / f"data.{kind}"

        def read(content: bytes) -> None:
            path.write_bytes(content)
            stage(path, folder)

        limits = ["-timeout=20", "-rss_limit_mb=6000"]
        atheris.Setup([sys.argv[0], *limits, *arguments, str(seeds)], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
