"""Make a million rows of instruction data, or measure prepare on them.

    python tests/support/make_million.py make FOLDER [--rows N]
    python tests/support/make_million.py measure FILE --tokenizer FOLDER --out FOLDER [--cpus N]

`make` writes FOLDER/rows.jsonl and FOLDER/rows.parquet; `measure` prints rows/s and the driver's
peak resident memory.
"""

import argparse
import json
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TEXT = (
    "the a of to in and for with on by from as at is are was be this that it which one two list "
    "describe explain write name give three short poem story reason river city number colour star "
    "green quick light water music history science letter answer question paper table engine"
)
WORDS = TEXT.split()
CHUNK_ROWS = 10_000


def rows(num: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """Alpaca rows of the length of the real ones (about 400 bytes); one in a hundred is a copy."""
    draw = random.Random(seed)
    row: dict[str, str] = {}
    for i in range(num):
        if i % 100 or i == 0:
            instruction = f"{i}: " + " ".join(draw.choices(WORDS, k=12))
            context = " ".join(draw.choices(WORDS, k=15)) if draw.random() < 0.4 else ""
            output = " ".join(draw.choices(WORDS, k=draw.randint(5, 90)))
            row = {"instruction": instruction, "input": context, "output": output}
        yield {**row, "source": f"row {i}"}


def make(folder: Path, num_rows: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(
        [(name, pa.string()) for name in ("instruction", "input", "output", "source")]
    )
    with (
        open(folder / "rows.jsonl", "w", encoding="utf-8") as lines,
        pq.ParquetWriter(folder / "rows.parquet", schema) as parquet,
    ):
        chunk = []
        for row in rows(num_rows):
            lines.write(json.dumps(row) + "\n")
            chunk.append(row)
            if len(chunk) == CHUNK_ROWS:
                parquet.write_table(pa.Table.from_pylist(chunk, schema=schema))
                chunk = []
        if chunk:
            parquet.write_table(pa.Table.from_pylist(chunk, schema=schema))


def measure(path: Path, tokenizer: Path, out_dir: Path, num_cpus: int) -> dict[str, object]:
    import ray

    from nuggets_ray.config.schema import Config, DataConfig, ModelConfig
    from nuggets_ray.stages.score.prepare import prepare

    config = Config(
        out_dir=str(out_dir.absolute()),
        model=ModelConfig(path=str(tokenizer.absolute())),
        data=DataConfig(path=str(path.absolute())),
    )
    ray.init(
        num_cpus=num_cpus,
        include_dashboard=False,
        object_store_memory=500_000_000,
        logging_level="WARNING",
    )
    started = time.monotonic()
    prepared = prepare(config, "measure")
    seconds = time.monotonic() - started
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "num_rows": prepared.num_rows,
        "num_candidates": prepared.num_candidates,
        "num_duplicates": prepared.num_duplicates,
        "seconds": round(seconds, 1),
        "rows_per_s": round(prepared.num_rows / seconds),
        "driver_peak_rss_gib": round(peak_gib, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("folder", type=Path)
    making.add_argument("--rows", type=int, default=1_000_000)
    measuring = commands.add_parser("measure")
    measuring.add_argument("path", type=Path)
    measuring.add_argument("--tokenizer", type=Path, required=True)
    measuring.add_argument("--out", type=Path, required=True)
    measuring.add_argument("--cpus", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.command == "make":
        make(arguments.folder, arguments.rows)
    else:
        figures = measure(arguments.path, arguments.tokenizer, arguments.out, arguments.cpus)
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
