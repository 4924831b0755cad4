"""The two contenders of bench=finetune: our training loop, and a plain transformers Trainer.

Both train all weights in bfloat16 over float32 master weights, in one process, on the same rows at
the same rate. `work` answers one line of JSON with another, a step each:
{"step": n} -> {cpu_s, wall_s, loss, flops_per_s, peak_gib}.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np

from nuggets_ray.finetune.rows import TrainRows

RATE_SIZE = 1024
RATE_S = 0.5
LEARNING_RATE = 2e-5


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured: `num_steps` steps of `batch_rows` rows of `data`, after one to warm up."""

    model: str
    data: str
    batch_rows: int
    num_steps: int
    threads: int
    contenders: Sequence[str]


def load_rows(options: Options) -> TrainRows:
    """The first rows of the data, in the model's own prompt, as the training stage encodes them."""
    from nuggets_ray.config.schema import DataConfig, ModelConfig, PromptConfig
    from nuggets_ray.data.examples import choose_rules
    from nuggets_ray.data.inputs import list_inputs, read_texts
    from nuggets_ray.finetune.rows import encode_texts
    from nuggets_ray.finetune.source import prompts
    from nuggets_ray.model.load import resolve_path

    files = list_inputs(options.data)
    rules = choose_rules(DataConfig(path=options.data), files)
    model = ModelConfig(path=resolve_path(ModelConfig(path=options.model)))
    prompt, limited, end = prompts(model, PromptConfig(), None)
    texts = [text for text in read_texts(files[0]) if isinstance(text, str)]
    num_rows = options.batch_rows * (options.num_steps + 1)
    encoded = encode_texts(texts, prompt, limited, rules, end, None, "error")
    return encoded.rows.take(np.arange(num_rows) % encoded.rows.num_rows)


def step_rows(options: Options, step: int) -> np.ndarray:
    """The rows of a step: the next ones, in order."""
    return np.arange(step * options.batch_rows, (step + 1) * options.batch_rows)


def ours(options: Options, rows: TrainRows) -> Callable[[int], float]:
    """One optimizer step through the training stage's own code, on one worker."""
    import torch.distributed as dist

    from nuggets_ray.config.finetune import FinetuneConfig
    from nuggets_ray.config.schema import ModelConfig
    from nuggets_ray.finetune import engine as module
    from nuggets_ray.finetune.steps import Schedule
    from nuggets_ray.loopback import LOOPBACK, on_interface_of

    address = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    os.environ |= {**address, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    on_interface_of(LOOPBACK)
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)

    class InOrder(Schedule):
        def rows(self, step: int) -> np.ndarray:
            return step_rows(options, step)

    schedule = InOrder(rows.num_rows, options.batch_rows, options.num_steps + 1, seed=0)
    config = FinetuneConfig(
        learning_rate=LEARNING_RATE,
        lr_schedule="constant",
        warmup_fraction=0.0,
        deepspeed={"zero_optimization": {"stage": 2}},
    )
    model = ModelConfig(path=options.model)
    setup = module.TrainSetup(model, config, schedule, "bfloat16", "cpu", 2048, 4)
    engine = module.make_engine(setup)
    return lambda step: module.train_step(engine, setup, rows, step).loss


def trainer(options: Options, rows: TrainRows, batch: int) -> Iterator[float]:
    """One optimizer step of a plain Trainer each time it is asked for the next loss.

    The Trainer runs in a thread of its own, and waits at the beginning of each step.
    """
    import queue
    import threading

    from transformers import DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments

    from nuggets_ray.config.schema import ModelConfig
    from nuggets_ray.model.load import load_model, load_tokenizer

    config = ModelConfig(path=options.model)
    model = load_model(config, "float32", "cpu").requires_grad_(True).train()
    asked: queue.Queue[None] = queue.Queue()
    done: queue.Queue[float] = queue.Queue()

    class Turns(TrainerCallback):
        def on_step_begin(self, *arguments: Any, **keywords: Any) -> None:
            asked.get()

        def on_log(self, *arguments: Any, logs: Any = None, **keywords: Any) -> None:
            if "loss" in logs:
                done.put(float(logs["loss"]))

    arguments = TrainingArguments(
        output_dir=os.path.join(os.environ.get("TMPDIR", "/tmp"), "nuggets_bench_trainer"),
        use_cpu=True,
        bf16=True,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=options.batch_rows // batch,
        max_steps=options.num_steps + 1,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=0,
        remove_unused_columns=False,
    )
    collator = DataCollatorForSeq2Seq(load_tokenizer(config), padding="longest")
    data = [_labelled(rows, index) for index in range(rows.num_rows)]
    job = Trainer(model, arguments, collator, data, callbacks=[Turns()])
    threading.Thread(target=job.train, daemon=True).start()
    while True:
        asked.put(None)
        yield done.get()


def _labelled(rows: TrainRows, index: int) -> dict[str, list[int]]:
    ids, mask = rows.row(index)
    labels = np.where(mask, ids, -100).tolist()
    return {"input_ids": ids.tolist(), "attention_mask": [1] * len(ids), "labels": labels}


def matrix_rate() -> float:
    """FLOP per CPU second of a bfloat16 matrix product."""
    import torch

    a = torch.randn(RATE_SIZE, RATE_SIZE).bfloat16()
    num_calls, started = 0, time.process_time()
    while (cpu_s := time.process_time() - started) < RATE_S:
        a @ a
        num_calls += 1
    return 2 * RATE_SIZE**3 * num_calls / cpu_s


def work(options: Options, name: str, answers: TextIO) -> None:
    """The process of one contender: answer each line of stdin until it closes."""
    import resource

    import torch

    torch.set_num_threads(options.threads)
    rows = load_rows(options)
    if name == "ours":
        step = ours(options, rows)
    else:
        losses = trainer(options, rows, int(name.rpartition(" ")[2]))
        step = lambda _: next(losses)  # noqa: E731
    for line in sys.stdin:
        rate = matrix_rate()
        cpu, wall = time.process_time(), time.perf_counter()
        loss = step(json.loads(line)["step"])
        answer = {
            "loss": loss,
            "cpu_s": time.process_time() - cpu,
            "wall_s": time.perf_counter() - wall,
            "flops_per_s": rate,
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        print(json.dumps(answer), file=answers, flush=True)
