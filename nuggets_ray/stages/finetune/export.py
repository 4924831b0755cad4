"""The end of a fine-tune: the last or best checkpoint as models/<name>/, with tokenizer and card.

finetune.json is written last: where it stands, the model is whole.
"""

import json
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import Any

import ray
from pyarrow import fs
from ray.train import Checkpoint

from nuggets_ray import io
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.card import CardFacts, model_card
from nuggets_ray.finetune.checkpoints import (
    Record,
    Saved,
    differences,
    num_workers_by_step,
    read_committed,
)
from nuggets_ray.finetune.engine import TrainSetup
from nuggets_ray.finetune.export import export_weights, write_tokenizer
from nuggets_ray.finetune.source import Source, prompts
from nuggets_ray.finetune.steps import Work
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.alpaca_jinja import give_chat_template
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.versions import versions
from nuggets_ray.stages.cluster.workers import result_of
from nuggets_ray.stages.finetune.rows import SplitRows

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """A training that came to its end. `selection`: the record of the selection it was on."""

    setup: TrainSetup
    work: Work
    rows: SplitRows
    history: list[Record]
    settings: dict[str, Any]
    selection: dict[str, Any] | None


def read_done(
    out_dir: str, config: FinetuneConfig, source: Source, settings: dict[str, Any]
) -> dict[str, Any] | None:
    """The summary of the model that is there already, None where there is none.

    Raises UserError where it was trained with other settings.
    """
    uri = RunFolder(out_dir).model(source.name).record
    if not io.exists(uri):
        return None
    done: dict[str, Any] = io.read_json(uri)
    before, now = done["settings"] | done["exported"], settings | _chosen(config)
    if changed := differences(before, now, source.description):
        raise UserError(
            f"finetune.name={source.name}: models/{source.name} was trained with another "
            f"{', '.join(changed.values())}: give another finetune.name, or remove that folder and "
            f"finetune/{source.name}"
        )
    summary: dict[str, Any] = done["summary"]
    return summary


def _chosen(config: FinetuneConfig) -> dict[str, Any]:
    return {
        "finetune.export": config.export,
        "finetune.lora_merge": config.lora_merge,
    }


def export(out_dir: str, base_model: str, source: Source, finished: Finished) -> dict[str, Any]:
    """Write models/<name>/, whose card names the base model, and return the job's summary."""
    config = finished.setup.finetune
    folder = RunFolder(out_dir).training(source.name).path
    committed = read_committed(folder)
    assert committed is not None, "the last step is always saved"
    saved = committed.last
    if config.export == "best":
        saved = committed.best or saved
    model = RunFolder(out_dir).model(source.name)
    facts = _card_facts(base_model, source, finished, saved)
    card = model_card(facts, config)
    task = _export.options(num_cpus=1)
    result_of(task.remote(source, finished.setup, saved.uri, model.path, card))
    summary = {
        "wrote": [model.path, folder],
        "status": "done",
        "name": source.name,
        "num_rows": facts.num_rows,
        "num_steps": facts.num_steps,
        "first_loss": facts.first_loss,
        "loss": facts.last_loss,
        "eval_loss": facts.eval_loss,
    }
    done = {
        "settings": finished.settings,
        "num_workers": num_workers_by_step(finished.history),
        "selection": finished.selection,
        "exported": _chosen(config),
        "summary": summary,
    }
    io.write_bytes(model.record, (json.dumps(done, indent=1) + "\n").encode())
    logger.info("models/%s: the weights after step %d", source.name, saved.step)
    return summary


def _card_facts(base_model: str, source: Source, finished: Finished, saved: Saved) -> CardFacts:
    steps = [record for record in finished.history if "loss" in record]
    schedule, work, rows = finished.setup.schedule, finished.work, finished.rows
    prompt, _, _ = prompts(source.model, source.prompt, source.max_tokens)
    return CardFacts(
        name=source.name,
        base_model=base_model,
        source=source.description,
        num_rows=rows.train.num_rows,
        num_held_out=rows.held_out.num_rows,
        num_too_long=len(rows.encoded.too_long),
        skipped=rows.encoded.skipped or {},
        template=prompt.name,
        dtype=finished.setup.dtype,
        num_workers=num_workers_by_step(finished.history),
        num_steps=schedule.num_steps,
        epochs=schedule.epochs,
        tokens_a_step=round(work.num_tokens / schedule.num_steps),
        answer_tokens_a_step=round(work.num_answer_tokens / schedule.num_steps),
        first_loss=steps[0]["loss"],
        last_loss=steps[-1]["loss"],
        eval_loss=saved.eval_loss,
        exported_step=saved.step,
        selection=finished.selection,
        score=source.score,
        versions=versions(),
    )


@ray.remote
def _export(source: Source, setup: TrainSetup, checkpoint: str, target: str, card: str) -> None:
    """On a worker's node: build the folder beside its place, then put it there whole."""
    store, path = io.open_fs(target)
    if io.is_remote(target):
        folder = tempfile.mkdtemp(prefix="nuggets_model_")
    else:
        folder = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    saved_store, saved_path = io.open_fs(checkpoint)
    with Checkpoint(saved_path, filesystem=saved_store).as_directory() as saved:
        export_weights(setup.model, setup.finetune, setup.dtype, saved, folder)
    tokenizer = load_tokenizer(source.model)
    prompt, _, end = prompts(source.model, source.prompt, source.max_tokens)
    give_chat_template(tokenizer, prompt.zero_shot_prefix.tolist())
    write_tokenizer(tokenizer, source.model, end.token_id, folder)
    with open(os.path.join(folder, "README.md"), "w", encoding="utf-8") as file:
        file.write(card)
    io.delete(target)
    if io.is_remote(target):
        fs.copy_files(folder, path, destination_filesystem=store)
        shutil.rmtree(folder)
    else:
        os.rename(folder, path)
