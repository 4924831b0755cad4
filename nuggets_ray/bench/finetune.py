"""bench=finetune: our training loop beside a plain transformers Trainer, on the same rows.

Each contender is a process of its own that takes one optimizer step at a time when told, so that
they and the machine's matrix-multiply rate are measured in turns. Their losses must agree.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
from typing import Any

from nuggets_ray.bench.finetune_contenders import Options, load_rows, step_rows, work
from nuggets_ray.bench.plan import BenchResults
from nuggets_ray.bench.rows import make_row
from nuggets_ray.bench.session import check_request, finish
from nuggets_ray.bench.tables import hardware
from nuggets_ray.config.schema import Config
from nuggets_ray.finetune.rows import TrainRows
from nuggets_ray.markdown import markdown_table

logger = logging.getLogger(__name__)

BATCH_ROWS = 8
UNITS = {"tokens_per_cpu_s": "1/s", "share": "1", "tokens_per_s": "1/s", "peak_gib": "GiB"}
CONTENDERS = ("ours", "trainer, batch 1", "trainer, batch 4")
MAX_LOSS_DIFFERENCE = 0.02
"""Of the losses of a step, in nats: bfloat16 over float32 weights against bfloat16 weights."""


def bench(config: Config) -> dict[str, Any]:
    """Measure, print, write and log; the JSON object of the last line. The model is model.path and
    the rows data.path, by default the demo's.

    Raises UserError for what cannot be, RuntimeError where the losses do not agree.
    """
    check_request(config, (), CONTENDERS)
    options = Options(
        model=config.model.path or "demo",
        data=config.data.path or "demo",
        batch_rows=BATCH_ROWS,
        num_steps=config.bench.repeats,
        threads=config.bench.threads,
        contenders=tuple(config.bench.contenders) or CONTENDERS,
    )
    results = BenchResults()
    medians = _medians(options, _measure(options))
    rows = [
        make_row("finetune", name, metric, value, UNITS[metric])
        for name, values in medians.items()
        for metric, value in values.items()
    ]
    table = markdown_table(
        ["contender", "tokens / CPU s", "share of the matrix rate", "tokens / wall s", "GiB"],
        [
            [name, *(f"{value:.3g}" for value in values.values())]
            for name, values in medians.items()
        ],
    )
    head = (
        f"{hardware('cpu', options.threads)}.\n\nModel {options.model}, all weights, bfloat16; "
        f"{options.batch_rows} rows of {options.data} a step; medians of {options.num_steps}."
    )
    return finish(config, f"{head}\n\n{table}", rows, results)


def _measure(options: Options) -> dict[str, list[dict[str, float]]]:
    """The answers of each contender, a step each; the first step warms up."""
    workers = {name: _start(options, name) for name in options.contenders}
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in options.contenders}
    try:
        for step in range(options.num_steps + 1):
            for name, worker in workers.items():
                answers[name].append(_ask(worker, step))
                logger.info("step %d %s: %s", step, name, answers[name][-1])
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    return answers


def _start(options: Options, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nuggets_ray.bench.finetune", "--contender", name]
    for key in ("model", "data", "batch_rows", "num_steps", "threads"):
        command += [f"--{key.replace('_', '-')}", str(getattr(options, key))]
    env = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "DS_ACCELERATOR": "cpu"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env)


def _ask(worker: subprocess.Popen[str], step: int) -> dict[str, float]:
    assert worker.stdin and worker.stdout
    print(json.dumps({"step": step}), file=worker.stdin, flush=True)
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"a contender ended with exit code {worker.wait()}")
    answer: dict[str, float] = json.loads(line)
    return answer


def useful_flop(options: Options, rows: TrainRows, step: int) -> float:
    """FLOP of a step that cannot be done without: 6 a weight and token, the vocabulary at answer
    tokens only, no padding; attention left out.
    """
    from nuggets_ray.config.schema import ModelConfig
    from nuggets_ray.model.body import body_of
    from nuggets_ray.model.size import empty_model

    model: Any = empty_model(ModelConfig(path=options.model))
    head = model.get_output_embeddings().weight.numel()
    body = sum(p.numel() for p in body_of(model).parameters() if p.ndim == 2)
    body -= model.get_input_embeddings().weight.numel()
    chosen = step_rows(options, step)
    num_answers = int(rows.num_answer_tokens_N[chosen].sum())
    return float(6 * (body * int(rows.length_N[chosen].sum()) + head * num_answers))


def _medians(
    options: Options, answers: dict[str, list[dict[str, float]]]
) -> dict[str, dict[str, float]]:
    """{contender: {metric: median over the steps}}, the metrics those of UNITS, in order."""
    steps = range(1, options.num_steps + 1)
    for step in steps:
        losses = [answers[name][step]["loss"] for name in options.contenders]
        if max(losses) - min(losses) > MAX_LOSS_DIFFERENCE:
            raise RuntimeError(f"the contenders do not train alike: losses of a step {losses}")
    rows = load_rows(options)
    flop = {step: useful_flop(options, rows, step) for step in steps}
    tokens = {step: int(rows.length_N[step_rows(options, step)].sum()) for step in steps}
    medians = {}
    for name in options.contenders:
        steps_of = answers[name]
        values = {
            "tokens_per_cpu_s": [tokens[s] / steps_of[s]["cpu_s"] for s in steps],
            "share": [flop[s] / steps_of[s]["cpu_s"] / steps_of[s]["flops_per_s"] for s in steps],
            "tokens_per_s": [tokens[s] / steps_of[s]["wall_s"] for s in steps],
            "peak_gib": [steps_of[s]["peak_gib"] for s in steps],
        }
        medians[name] = {metric: statistics.median(some) for metric, some in values.items()}
    return medians


def main() -> None:
    """One contender, told by the bench what to do on stdin."""
    parser = argparse.ArgumentParser(prog="python -m nuggets_ray.bench.finetune")
    parser.add_argument("--contender", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--batch-rows", type=int, required=True)
    parser.add_argument("--num-steps", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    given = vars(parser.parse_args())
    contender = given.pop("contender")
    # whatever the libraries print goes to stderr; answers alone to stdout
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work(Options(**given, contenders=(contender,)), contender, answers)


if __name__ == "__main__":
    main()
