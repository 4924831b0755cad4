"""What is fine-tuned on, with which model and prompt: a selection of the run, or any data path.

Known before Ray starts, so that a missing selection or model costs seconds.
"""

import logging
import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from nuggets_ray import io
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.data.examples import Rules, choose_rules
from nuggets_ray.data.inputs import InputFile, list_inputs
from nuggets_ray.demo.files import demo_or
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.answer_end import AnswerEnd, find_answer_end
from nuggets_ray.model.adapter import with_base
from nuggets_ray.model.load import (
    check_path,
    load_config,
    load_tokenizer,
    max_context_tokens,
    resolve_model,
)
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.run.held_out import read_rules
from nuggets_ray.run.job_configs import read_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest
from nuggets_ray.run.selections import (
    check_not_outgrown,
    read_selection,
    selection_names,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """What is trained on, and with which model and prompt: all known before Ray starts.

    `selection`: the name of the run's selection, None for rows of data.path.
    """

    name: str
    description: str
    files: tuple[InputFile, ...]
    limit: int | None
    rules: Rules
    model: ModelConfig
    prompt: PromptConfig
    max_tokens: int | None
    selection: str | None
    score: dict[str, Any] | None


def find_source(config: Config) -> Source:
    """The rows' files and how to read them. Raises UserError for a missing selection or data, and
    for keys that need held-out rows where there are none.
    """
    check_held_out(config.out_dir, config.finetune, config.data.holdout)
    scored = read_config(config.out_dir, "score")
    model = _model(config.model, scored)
    check_trainable(model)
    model = resolve_model(model)
    prompt = _prompt_config(config.prompt, config.finetune, scored)
    max_tokens = _max_tokens(config.finetune, model)
    if config.finetune.selection is not None:
        return _selection(config.out_dir, config.finetune, scored, model, prompt, max_tokens)
    path = _data_path(config.data.path)
    files = list_inputs(path, splits=config.data.splits)
    stem = os.path.basename(path.rstrip("/")).partition(".")[0]
    return Source(
        name=_name(config.finetune, stem),
        description=config.data.path,
        files=tuple(files),
        limit=config.data.limit,
        rules=choose_rules(config.data, files),
        selection=None,
        score=None,
        model=model,
        prompt=prompt,
        max_tokens=max_tokens,
    )


def check_source(config: Config) -> None:
    """Raise UserError for a model, a selection, data or held-out rows that are not there: no model
    and no row is read.
    """
    scored = read_config(config.out_dir, "score")
    if config.finetune.selection is not None:
        _made(config.out_dir, config.finetune.selection, scored)
    else:
        list_inputs(_data_path(config.data.path), splits=config.data.splits)
    check_held_out(config.out_dir, config.finetune, config.data.holdout)
    check_path(_model(config.model, scored))
    check_trainable(_model(config.model, scored))


def check_trainable(model: ModelConfig) -> None:
    """Raise UserError for an adapter: it would be trained and written as whole weights."""
    if (adapter := with_base(model).adapter_path) is not None:
        raise UserError(
            f"model.path={model.path} is used with the adapter {adapter}, and fine-tuning starts "
            "from whole weights: merge the two (peft's merge_and_unload), and give the folder of "
            "the result as model.path, in scoring too"
        )


def check_held_out(out_dir: str, config: FinetuneConfig, num_drawn: int) -> None:
    """Raise UserError for a key that asks for the loss on held-out rows where there are none: of
    the run's own, or else `num_drawn` (data.holdout) of the rows to train on.
    """
    key = None if config.eval_steps is None else f"finetune.eval_steps={config.eval_steps}"
    if config.export == "best":
        key = "finetune.export=best"
    if key is None:
        return
    uri, num_held_out = RunFolder(out_dir).held_out, num_drawn
    if io.exists(uri):
        num_held_out = io.read_table(uri, columns=["content_id"]).num_rows
    elif config.selection is not None:
        num_held_out = 0
    if num_held_out == 0:
        raise UserError(
            f"{key}: no row is held out, so there is no loss to tell: leave it out, or set "
            "data.holdout (for a selection, when its run is scored)"
        )


def _model(model: ModelConfig, scored: dict[str, Any] | None) -> ModelConfig:
    """The model that is given, or else that of the scoring."""
    if not model.path and scored:
        model = ModelConfig(**scored["model"])
    if not model.path:
        raise UserError("model.path is missing: give model.path=..., as in model=demo")
    return model


def _data_path(path: str) -> str:
    if not path:
        raise UserError(
            "finetune.selection is missing: give finetune.selection=golden for a selection of "
            "out_dir, or data.path=... for rows of your own"
        )
    return demo_or(path, "data.path")


def _made(
    out_dir: str, name: str, scored: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What selection.json says, and the scoring's configuration. UserError for no selection."""
    made = read_selection(out_dir, name)
    if made is None or scored is None:
        there = ", ".join(selection_names(out_dir)) or "none"
        raise UserError(
            f"finetune.selection={name}: out_dir={out_dir} holds no such selection (there are: "
            f"{there}): make it with {job_command('select')}, or name another"
        )
    return made, scored


def _selection(
    out_dir: str,
    config: FinetuneConfig,
    scored: dict[str, Any] | None,
    model: ModelConfig,
    prompt: PromptConfig,
    max_tokens: int | None,
) -> Source:
    name = str(config.selection)
    made, scored = _made(out_dir, name, scored)
    check_not_outgrown(out_dir, name, made, config.allow_partial)
    uri = RunFolder(out_dir).selection(name).jsonl
    manifest = read_manifest(out_dir) or {}
    return Source(
        name=_name(config, name),
        description=f"selection {name}",
        files=tuple(list_inputs(uri, "finetune.selection")),
        limit=None,
        rules=read_rules(out_dir),
        selection=name,
        score={**manifest.get("fingerprint", {}), "data": scored["data"]["path"]},
        model=model,
        prompt=prompt,
        max_tokens=max_tokens,
    )


def _prompt_config(
    given: PromptConfig, config: FinetuneConfig, scored: dict[str, Any] | None
) -> PromptConfig:
    """The template of the scoring unless another is given; alpaca in place of official."""
    template = given.template
    if template == "auto" and scored and config.selection is not None:
        template = scored["prompt"]["template"]
    if template == "official":
        logger.info("prompt=official is for scores: the rows are trained on in prompt=alpaca")
        template = "alpaca"
    return PromptConfig(template)


def _max_tokens(config: FinetuneConfig, model: ModelConfig) -> int | None:
    context, limit = max_context_tokens(load_config(model)), config.max_row_tokens
    if limit is not None and context is not None and limit > context:
        raise UserError(
            f"finetune.max_row_tokens={limit}: the model's context is {context} tokens: lower it"
        )
    return limit or context


def _name(config: FinetuneConfig, default: str) -> str:
    name = config.name or default
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(
            f"finetune.name={name!r} is no folder name: give one of letters, digits, '.', '_' and "
            "'-', starting with a letter or digit"
        )
    return name


@lru_cache(maxsize=1)
def prompts(
    model: ModelConfig, config: PromptConfig, max_tokens: int | None
) -> tuple[Prompt, Prompt, AnswerEnd]:
    """The prompt, the same cut to `max_tokens`, and what an answer ends with. Raises UserError
    where an answer could not end.
    """
    tokenizer = load_tokenizer(model)
    prompt = make_prompt(tokenizer, config)
    if max_tokens is None:
        limited = prompt
    else:
        room = max(1, max_tokens - len(prompt.zero_shot_prefix) - 1)
        limited = make_prompt(tokenizer, replace(config, max_anchor_tokens=room))
    return prompt, limited, find_answer_end(prompt, tokenizer, model.path)
