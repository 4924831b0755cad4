"""bench=peers: the tree engine beside everything else that a user could run for the same numbers.

Same model, candidates, anchors and token ids for all of a case; a contender whose float32 log-probs
are not the reference's gets no ratio.
"""

import logging
from dataclasses import replace
from typing import Any

import torch

from nuggets_ray.bench.contenders import NAIVE_BATCH_TOKENS, OFFICIAL_BATCH_ROWS
from nuggets_ray.bench.data_juicer import environment_python, make_environment
from nuggets_ray.bench.measure import TOLERANCE_NATS, measure
from nuggets_ray.bench.plan import BenchResults, Contender, Plan
from nuggets_ray.bench.rows import format_number
from nuggets_ray.bench.session import (
    check_request,
    encode_works,
    expected_seconds,
    finish,
    make_task,
    start_worker,
    tell_duration,
)
from nuggets_ray.bench.tables import (
    Compared,
    Comparison,
    compare,
    compared_rows,
    cost_rows,
    difference_from,
    hardware,
    median_of,
    readings_of,
    reasons_text,
    short_reason,
)
from nuggets_ray.bench.task import NotMeasured
from nuggets_ray.bench.workload import load_source
from nuggets_ray.config.schema import Config, ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.markdown import markdown_table

logger = logging.getLogger(__name__)

TREE = "demonstration and anchors once through the model; vocabulary at answer tokens only"
NAIVE = (
    f"pairs of similar length in batches of up to {NAIVE_BATCH_TOKENS:,} tokens; vocabulary from a "
    "batch's first answer on, softmax at answer rows only; no padding mask"
)
OFFICIAL = (
    f"batches of {OFFICIAL_BATCH_ROWS}; the script's processes, files and progress bars left out; "
    "the cache copied in memory"
)
DATA_JUICER = (
    "the filter's own call on samples in memory: no dataset, no processes; its zero-shot losses "
    "left out"
)
VLLM = (
    "all pairs in one call, in this process; requests end at the last answer token; flat log-probs"
)
SGLANG = "all pairs in one call; the demonstration from its radix cache, log-probs behind it alone"
CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("tree", "tree", "bfloat16", TREE),
        Contender("tree_float32", "tree", "float32", TREE),
        Contender("naive", "naive", "bfloat16", NAIVE),
        Contender("official", "official", "bfloat16", OFFICIAL),
        Contender("official_float32", "official", "float32", OFFICIAL),
        Contender(
            "data_juicer", "data_juicer", "bfloat16", DATA_JUICER, lambda: str(environment_python())
        ),
        Contender(
            "data_juicer_float32",
            "data_juicer",
            "float32",
            DATA_JUICER,
            lambda: str(environment_python()),
        ),
        Contender("sglang", "sglang", "bfloat16", SGLANG),
        Contender("vllm", "vllm", "bfloat16", VLLM),
        Contender(
            "vllm_prefix_cache",
            "vllm_prefix_cache",
            "bfloat16",
            VLLM + "; small cache blocks; pairs that the guard refuses are scored again, counted",
        ),
    )
}
"""In bfloat16 but for those named otherwise."""

COMPARISONS = (
    Comparison("cut-200", "official", "tree", note="one dtype"),
    Comparison("cut-200", "official_float32", "tree", note="as shipped"),
    Comparison("cut-200", "naive", "tree"),
    Comparison("cut-200", "vllm", "tree"),
    Comparison("cut-200", "sglang", "tree"),
    Comparison("cut-200", "vllm_prefix_cache", "tree"),
    Comparison("uncut-200", "official", "tree", note="one dtype, padded to the longest"),
    Comparison("uncut-200", "naive", "tree"),
    Comparison("uncut-200", "vllm", "tree"),
    Comparison("uncut-200", "sglang", "tree"),
    Comparison("uncut-200", "vllm_prefix_cache", "tree"),
    Comparison("text-200", "data_juicer", "tree", note="one dtype, its token ids"),
    Comparison("text-200", "data_juicer_float32", "tree_float32", note="one dtype, its token ids"),
    Comparison(
        "text-200",
        "data_juicer_float32",
        "tree",
        note="as each runs by default (float32 weights)",
    ),
    Comparison("cut-400", "vllm", "tree"),
    Comparison("cut-400", "sglang", "tree"),
    Comparison("cut-400", "vllm_prefix_cache", "tree"),
    Comparison("uncut-400", "vllm", "tree"),
    Comparison("uncut-400", "vllm_prefix_cache", "tree"),
    Comparison("uncut-50", "vllm_prefix_cache", "tree"),
)


def bench(config: Config) -> dict[str, Any]:
    """Measure, print, write and log; the JSON object of the last line.

    Raises UserError for what cannot be, KeyboardInterrupt after Ctrl-C.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cases = dict.fromkeys(comparison.case for comparison in COMPARISONS)
    check_request(config, cases, CONTENDERS)
    if config.bench.make_peer_env:
        try:
            make_environment()
        except NotMeasured as error:  # the others can be measured
            logger.warning("%s", error)
    if not config.model.path:
        config = replace(config, model=ModelConfig(path="demo"))
    comparisons = chosen(config)
    plan, reasons = make_plan(config, comparisons, device)
    tell_duration(plan.expected_s, plan.repeats)
    results = measure(plan, start_worker, checked=True)
    results.reasons.update(reasons)
    compared = [compare(comparison, results, device) for comparison in comparisons]
    rows = [*cost_rows(plan, results), *compared_rows(compared)]
    return finish(config, text(plan, results, compared, config.model.path), rows, results)


def chosen(config: Config) -> list[Comparison]:
    """The comparisons that bench.cases and bench.contenders leave. Raises UserError for none."""
    cases, contenders = config.bench.cases, config.bench.contenders
    left = [
        comparison
        for comparison in COMPARISONS
        if (not cases or comparison.case in cases)
        and (not contenders or comparison.contender in contenders)
    ]
    if not left:
        known = ", ".join(f"{c.contender} in {c.case}" for c in COMPARISONS)
        raise UserError(
            f"bench.cases={cases} and bench.contenders={contenders} have no comparison in common: "
            f"there are {known}"
        )
    return left


def make_plan(
    config: Config, comparisons: list[Comparison], device: str
) -> tuple[Plan, dict[str, str]]:
    """Each case with the contenders of its comparisons, what they are compared with first; and why
    contenders are left out whose case cannot be made."""
    names: dict[str, dict[str, None]] = {}
    for comparison in comparisons:
        names.setdefault(comparison.case, {})[comparison.base] = None
    for comparison in comparisons:
        names[comparison.case][comparison.contender] = None
    cases = {case: [CONTENDERS[name] for name in some] for case, some in names.items()}
    task = make_task(config, device)
    source = load_source(config.bench.num_anchors)
    repeats = config.bench.repeats
    works, missing = encode_works(list(cases), source, task, repeats)
    reasons = {
        contender.name: f"not measured: {why}"
        for case, why in missing.items()
        for contender in cases.pop(case)
        if contender.kind != "tree"
    }
    expected_s = expected_seconds(cases, works, task, 1)
    return Plan(cases, works, source.note, repeats, 1, task, expected_s), reasons


def text(plan: Plan, results: BenchResults, compared: list[Compared], model_name: str) -> str:
    """The whole report as Markdown."""
    made = [f"* {contender.name}: {contender.made_fast}." for contender in plan.contenders]
    second = "wall" if plan.task.device == "cuda" else "CPU"
    parts = [
        f"{hardware(plan.task.device, plan.task.threads)}.",
        f"Model {model_name}, bfloat16 unless named otherwise; {plan.note}; medians of "
        f"{plan.repeats} runs of one candidate, another each time and the same for all. Ratios are "
        f"of {second} seconds. Valid: log-probs within {TOLERANCE_NATS:g} nats of the reference in "
        "float32.",
        _cost_table(plan, results),
        _ratio_table(compared, results),
        reasons_text(results),
        "What was done to make each fast:\n\n" + "\n".join(made),
    ]
    return "\n\n".join(part for part in parts if part)


def _cost_table(plan: Plan, results: BenchResults) -> str:
    header = ["case", "tokens", "contender", "CPU s", "wall s", "GiB"]
    header += ["off in float32", "mean off tree"]
    rows = []
    for case, contenders in plan.cases.items():
        work = plan.works[case]
        tokens = f"{len(work.prefixes[0])} + {work.num_anchor_tokens}"
        for contender in contenders:
            readings = readings_of(results, case, contender)
            difference = results.differences.get(contender.kind)
            checked = "-" if difference is None else f"{difference:.1e}"
            if not readings:
                why = short_reason(results, contender.name)
                rows.append([case, tokens, contender.name, why, "-", "-", checked, "-"])
                continue
            rows.append(
                [
                    case,
                    tokens,
                    contender.name,
                    format_number(median_of(readings, lambda r: r.cost.cpu_s)),
                    format_number(median_of(readings, lambda r: r.cost.wall_s)),
                    format_number(max(r.cost.peak_gib for r in readings)),
                    checked,
                    format_number(difference_from("tree", readings, results), 2),
                ]
            )
    return markdown_table(header, rows)


def _ratio_table(compared: list[Compared], results: BenchResults) -> str:
    rows = []
    for one in compared:
        of = one.comparison
        why = short_reason(results, of.contender, of.base)
        ratio = why if one.ratio is None else f"{one.ratio:.2f}x"
        rows.append([of.case, f"{of.contender} / {of.base}", ratio, of.note])
    return markdown_table(["case", "cost of", "ratio", ""], rows)
