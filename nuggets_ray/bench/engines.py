"""bench=engine: our engines against the machine they run on.

The share of the matrix-multiply rate that useful FLOP reach, and where the rest of the time goes.
"""

import logging
from dataclasses import replace
from typing import Any

import torch

from nuggets_ray.bench.engine_cases import CASES, MADE_FAST
from nuggets_ray.bench.engine_tables import gpu_rows, of_signals, share_rows, text
from nuggets_ray.bench.measure import measure
from nuggets_ray.bench.plan import BenchResults, Contender, Plan
from nuggets_ray.bench.process import WorkerFailed
from nuggets_ray.bench.random_models import SIZES
from nuggets_ray.bench.rows import make_row
from nuggets_ray.bench.session import (
    check_request,
    encode_works,
    expected_seconds,
    finish,
    make_task,
    start_worker,
    tell_duration,
)
from nuggets_ray.bench.tables import compared_rows, cost_rows
from nuggets_ray.bench.task import NotMeasured
from nuggets_ray.bench.workload import load_source
from nuggets_ray.config.schema import Config, ModelConfig
from nuggets_ray.model.load import resolve_dtype
from nuggets_ray.score.one_shot import CANDIDATES_A_CALL

logger = logging.getLogger(__name__)


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
