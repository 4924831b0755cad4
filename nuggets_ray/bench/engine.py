"""The command line of bench=engine, without Ray and Hydra: `python -m nuggets_ray.bench.engine
--help`; with `--gpu`, the look at a GPU that nobody has measured yet (gpu/command.py), which needs
torch and transformers alone.
"""

import argparse
import sys

from nuggets_ray.bench.engine_cases import CASES, MADE_FAST
from nuggets_ray.bench.random_models import SIZES
from nuggets_ray.cli import configure_logging, guard, print_result
from nuggets_ray.config.bench import BenchConfig
from nuggets_ray.config.schema import Config, ModelConfig, ScoreConfig, check


def parse_arguments(arguments: list[str]) -> tuple[Config, argparse.Namespace]:
    """The command line of this module as a checked Config, and as it is."""
    parser = argparse.ArgumentParser(prog="python -m nuggets_ray.bench.engine", description=__doc__)
    add = parser.add_argument
    add("--model", default="", help=f"a folder, a hub id, demo, or on a GPU {', '.join(SIZES)}")
    add("--dtype", default="auto", help="bfloat16, float32 or auto")
    add("--max-pack-tokens", type=int, help="most tokens in one forward")
    add("--repeats", type=int, default=5, help="runs of each, of which the median is shown")
    add("--threads", type=int, default=1, help="CPU threads")
    add("--num-anchors", type=int, help="the first N anchors (default: all)")
    add("--contenders", nargs="*", default=[], help=f"some of {', '.join(MADE_FAST)}")
    add("--cases", nargs="*", default=[], help=f"some of {', '.join(CASES)}")
    add("--out", default="", help="JSON file for the rows")
    add("--log", help="Markdown file to append to")
    add("--gpu", action="store_true", help="a first look at a GPU: right, fast, how much memory?")
    add("--tiny", action="store_true", help="with --gpu: the same with tiny models on a CPU")
    given = parser.parse_args(arguments)
    config = Config(
        model=ModelConfig(path=given.model),
        score=ScoreConfig(dtype=given.dtype, max_pack_tokens=given.max_pack_tokens),
        bench=BenchConfig(
            repeats=given.repeats,
            threads=given.threads,
            num_anchors=given.num_anchors,
            contenders=given.contenders,
            cases=given.cases,
            out=given.out,
            log=given.log,
        ),
    )
    check(config)
    return config, given


def main() -> int:
    """Run the bench of the command line; the exit code, as of the jobs."""
    configure_logging()
    return guard(_main)


def _main() -> int:
    config, given = parse_arguments(sys.argv[1:])
    if given.gpu or given.tiny:
        from nuggets_ray.bench.gpu.command import gpu_bench

        result = gpu_bench(given.tiny, given.out)
        print_result(result)
        return int(result["status"] == "failed")
    from nuggets_ray.bench.engines import bench  # more than a bare machine has

    print_result(bench(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
