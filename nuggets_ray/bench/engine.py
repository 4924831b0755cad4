"""bench=engine: our engines against the machine they run on.

The share of the matrix-multiply rate that useful FLOP reach, and where the rest of the time goes.
Runs without Ray and Hydra: `python -m nuggets_ray.bench.engine --help`.
"""

import argparse
import logging
import sys
from dataclasses import replace
from typing import Any

import torch

from nuggets_ray.bench.engine_tables import gpu_rows, of_signals, share_rows, text
from nuggets_ray.bench.measure import measure
from nuggets_ray.bench.plan import BenchResults, Contender, Plan
from nuggets_ray.bench.process import WorkerFailed
from nuggets_ray.bench.random_models import SIZES
from nuggets_ray.bench.session import (
    check_request,
    encode_works,
    expected_seconds,
    finish,
    make_task,
    start_worker,
    tell_duration,
)
from nuggets_ray.bench.tables import compared_rows, cost_rows, make_row
from nuggets_ray.bench.task import NotMeasured
from nuggets_ray.bench.workload import load_source
from nuggets_ray.cli import configure_logging, guard, print_result
from nuggets_ray.config.bench import BenchConfig
from nuggets_ray.config.schema import Config, ModelConfig, ScoreConfig, check
from nuggets_ray.model.load import resolve_dtype
from nuggets_ray.score.one_shot import CANDIDATES_A_CALL

logger = logging.getLogger(__name__)

MADE_FAST = {
    "tree": "demonstration and anchors once through the model; vocabulary at answer tokens only",
    "tree_signals": "tree, with signals=[perplexity,ifd,rds] taken down of each candidate",
    "kv_cache": "the demonstration's cache expanded over batches of anchors of similar length",
    "plain": "whole sequences in batches of similar length",
}
CASES = {
    "cut-200": ("tree", "tree_signals", "kv_cache", "plain"),
    "uncut-200": ("tree", "tree_signals", "kv_cache", "plain"),
    "cut-50": ("tree",),
    "uncut-50": ("tree",),
    "cut-400": ("tree",),
    "uncut-400": ("tree",),
}


def bench(config: Config) -> dict[str, Any]:
    """Measure, print, write and log; the JSON object of the last line.

    The model is model.path; by default the demo model, on a GPU a 7B-shaped one with random
    weights. Raises UserError for what cannot be, KeyboardInterrupt after Ctrl-C.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    check_request(config, CASES, MADE_FAST)
    if not config.model.path:
        path = next(iter(SIZES)) if device == "cuda" else "demo"
        config = replace(config, model=ModelConfig(path=path))
    plan = make_plan(config, device)
    tell_duration(plan.expected_s, plan.repeats)
    results = measure(plan, start_worker, checked=False)  # make_engine checks each
    profile = {} if results.interrupted else _profile(plan, results)
    rows = [*cost_rows(plan, results), *share_rows(plan, results), *gpu_rows(plan)]
    rows += compared_rows(of_signals(plan, results))
    rows += [make_row("profile", "tree", group, s, "s") for group, s in profile.items()]
    return finish(config, text(plan, results, profile, config.model.path), rows, results)


def make_plan(config: Config, device: str) -> Plan:
    """The cases and engines that bench.cases and bench.contenders leave, with their works."""
    dtype = resolve_dtype(config.score.dtype, "", device)
    asked, wanted = config.bench.cases or list(CASES), config.bench.contenders or list(MADE_FAST)
    cases = {
        case: [Contender(name, name, dtype, MADE_FAST[name]) for name in names if name in wanted]
        for case, names in CASES.items()
        if case in asked
    }
    cases = {case: contenders for case, contenders in cases.items() if contenders}
    num, repeats = CANDIDATES_A_CALL[device], config.bench.repeats
    task = make_task(config, device)
    source = load_source(config.bench.num_anchors)
    works, _ = encode_works(list(cases), source, task, max(num, repeats))
    expected_s = expected_seconds(cases, works, task, num)
    return Plan(cases, works, source.note, repeats, num, task, expected_s, with_rates=True)


def _profile(plan: Plan, results: BenchResults) -> dict[str, float]:
    """Seconds by group of one run of the tree, in the first case that has it."""
    case = next((case for case, some in plan.cases.items() if some[0].kind == "tree"), None)
    if case is None or plan.cases[case][0].name in results.reasons:
        return {}
    tree = plan.cases[case][0]
    works = (plan.works[case].to_json(),)
    logger.info("profile: %s of %s", tree.name, case)
    try:
        worker = start_worker(
            replace(plan.task, kind=tree.kind, dtype=tree.dtype, works=works), tree
        )
        try:
            return worker.profile(case, list(range(plan.candidates_a_run)))
        finally:
            worker.close()
    except (NotMeasured, WorkerFailed) as error:
        logger.warning("no profile: %s", error)
    except KeyboardInterrupt:
        results.interrupted = True
    return {}


def parse_arguments(arguments: list[str]) -> Config:
    """The command line of this module as a checked Config."""
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
    return config


def main() -> int:
    """Run the bench of the command line; the exit code, as of the jobs."""
    configure_logging()
    return guard(lambda: print_result(bench(parse_arguments(sys.argv[1:]))))


if __name__ == "__main__":
    sys.exit(main())
