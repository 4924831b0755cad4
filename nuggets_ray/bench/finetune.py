"""bench=finetune: our training loop beside a plain transformers Trainer, on the same rows.

Each contender is a process of its own that takes one optimizer step at a time when told, so that
they and the machine's matrix-multiply rate are measured in turns. Their losses must agree.
Runs alone: `python -m nuggets_ray.bench.finetune --help`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from nuggets_ray.bench.finetune_contenders import Options, load_rows, step_rows, work
from nuggets_ray.finetune.rows import TrainRows

CONTENDERS = ("ours", "trainer, batch 1", "trainer, batch 4")
MAX_LOSS_DIFFERENCE = 0.02
"""Of the losses of a step, in nats: bfloat16 over float32 weights against bfloat16 weights."""


def bench(options: Options) -> list[dict[str, Any]]:
    """Measure, print a Markdown table, and return rows {case, contender, metric, value, unit}."""
    rows = load_rows(options)
    workers = {name: _start(options, name) for name in options.contenders}
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in options.contenders}
    try:
        for step in range(options.num_steps + 1):
            for name, worker in workers.items():
                answers[name].append(_ask(worker, step))
                sys.stderr.write(f"step {step} {name}: {answers[name][-1]}\n")
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    return _tell(options, rows, answers)


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
    from nuggets_ray.config import ModelConfig
    from nuggets_ray.model import empty_model

    model: Any = empty_model(ModelConfig(path=options.model))
    head = model.get_output_embeddings().weight.numel()
    body = sum(p.numel() for p in model.base_model.parameters() if p.ndim == 2)
    body -= model.get_input_embeddings().weight.numel()
    chosen = step_rows(options, step)
    num_answers = int(rows.num_answer_tokens_N[chosen].sum())
    return float(6 * (body * int(rows.length_N[chosen].sum()) + head * num_answers))


def _tell(
    options: Options, rows: TrainRows, answers: dict[str, list[dict[str, float]]]
) -> list[dict[str, Any]]:
    steps = range(1, options.num_steps + 1)
    for step in steps:
        losses = [answers[name][step]["loss"] for name in options.contenders]
        if max(losses) - min(losses) > MAX_LOSS_DIFFERENCE:
            raise RuntimeError(f"the contenders do not train alike: losses of a step {losses}")
    table = []
    flop = {step: useful_flop(options, rows, step) for step in steps}
    tokens = {step: int(rows.length_N[step_rows(options, step)].sum()) for step in steps}
    print("| contender | tokens / CPU s | share of the matrix rate | wall tokens/s | peak GiB |")
    print("|---|---|---|---|---|")
    for name in options.contenders:
        found = answers[name]
        values = {
            "tokens_per_cpu_s": [tokens[s] / found[s]["cpu_s"] for s in steps],
            "share": [flop[s] / found[s]["cpu_s"] / found[s]["flops_per_s"] for s in steps],
            "tokens_per_s": [tokens[s] / found[s]["wall_s"] for s in steps],
            "peak": [found[s]["peak_gib"] for s in steps],
        }
        middle = {metric: statistics.median(numbers) for metric, numbers in values.items()}
        units = {"tokens_per_cpu_s": "1/s", "share": "1", "tokens_per_s": "1/s", "peak": "GiB"}
        table += [
            {"case": "finetune", "contender": name, "metric": m, "value": v, "unit": units[m]}
            for m, v in middle.items()
        ]
        a, b, c, d = middle.values()
        print(f"| {name} | {a:.0f} | {b:.2f} | {c:.0f} | {d:.1f} |", flush=True)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump(table, file, indent=1)
    return table


def main() -> None:
    """Run the bench of the command line, or one contender of it."""
    parser = argparse.ArgumentParser(prog="python -m nuggets_ray.bench.finetune")
    parser.add_argument("--model", default="demo", help="a folder, a hub id, or demo")
    parser.add_argument("--data", default="demo", help="a file of rows, or demo")
    parser.add_argument("--batch-rows", type=int, default=8, help="rows of a step")
    parser.add_argument("--num-steps", type=int, default=5, help="steps, of which the median")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out", default="", help="JSON file for the rows of the table")
    parser.add_argument("--contenders", nargs="*", default=CONTENDERS, help="some of them")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    given = vars(parser.parse_args())
    contender = given.pop("contender")
    options = Options(**given)
    if contender is None:
        bench(options)
        return
    # whatever the libraries print goes to stderr; answers alone to stdout
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work(options, contender, answers)


if __name__ == "__main__":
    main()
