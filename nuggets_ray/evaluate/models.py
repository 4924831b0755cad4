"""Which models are evaluated: the base, those under models/ of the run, and any folder.

Known before Ray starts, so that a misspelt name costs seconds.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import DataConfig, ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.adapter import ADAPTER_CONFIG
from nuggets_ray.model.load import check_path, load_tokenizer, resolve_model
from nuggets_ray.run.job_configs import read_config
from nuggets_ray.run.layout import RunFolder

BASE = "base"


@dataclass(frozen=True, slots=True)
class EvalModel:
    """A model under its `name` in results."""

    name: str
    model: ModelConfig
    prompt: PromptConfig


def find_models(
    out_dir: str, names: Sequence[str], model: ModelConfig, prompt: PromptConfig
) -> list[EvalModel]:
    """The models of these `names` (evaluate.models), or base and every model of the run where there
    are none. Raises UserError for one that is not there.
    """
    trained = trained_models(out_dir)
    _refuse_repeated(names)
    names = names or [BASE, *trained]
    models = [_find(out_dir, name, trained, model, prompt) for name in names]
    labels = [one.name for one in models]
    if clashing := sorted({label for label in labels if labels.count(label) > 1}):
        raise UserError(
            f"evaluate.models: two models would be called {clashing[0]}: rename one of the folders"
        )
    return models


def check_models(out_dir: str, names: Sequence[str], model: ModelConfig) -> None:
    """Raise UserError for one of these names that is not there, or named twice: by the names alone,
    nothing is loaded.
    """
    trained = trained_models(out_dir)
    _refuse_repeated(names)
    for name in names:
        if name == BASE:
            check_path(_base(out_dir, model))
        elif name not in trained:
            with _of_models():
                check_path(ModelConfig(_outside(out_dir, name, trained)))


def _refuse_repeated(names: Sequence[str]) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"evaluate.models names {repeated[0]} twice: name each model once")


def base_model(out_dir: str, model: ModelConfig) -> ModelConfig:
    """The model that the run's others were trained from, with its folder or hub id resolved."""
    return resolve_model(_base(out_dir, model))


def _base(out_dir: str, model: ModelConfig) -> ModelConfig:
    for stage in ("score", *(f"finetune-{name}" for name in trained_models(out_dir))):
        if not model.path and (before := read_config(out_dir, stage)):
            model = ModelConfig(**before["model"])
    if not model.path:
        raise UserError(
            f"model.path is missing, and out_dir={out_dir} holds no run that names one: give the "
            "out_dir of a scored or trained run, or model.path=..., as in model=demo"
        )
    return model


def run_prompt(out_dir: str, model: ModelConfig, prompt: PromptConfig) -> PromptConfig:
    """The template that the run scored or trained with unless another is given; alpaca in place of
    official, as in training.

    auto is what it was for the base: a base without a chat template was trained on in alpaca, and
    the chat template that its model was given then has no place for an input or a system turn.
    """
    template = prompt.template
    for stage in ("score", *(f"finetune-{name}" for name in trained_models(out_dir))):
        if template == "auto" and (before := read_config(out_dir, stage)):
            template = before["prompt"]["template"]
    if template == "auto":
        template = "chat" if load_tokenizer(base_model(out_dir, model)).chat_template else "alpaca"
    return _answered(template)


def _answered(template: str) -> PromptConfig:
    """What answers are asked for by: official is for scores, and no prompt is ever cut."""
    return PromptConfig("alpaca" if template == "official" else template)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Files that a model was trained on directly, and how they were read; `leaves_out`: sha256 of
    the held-out rows that were left out of them, None where there were none; `sha256` of each file
    as it was then, () where it is not known.
    """

    data: DataConfig
    leaves_out: str | None
    sha256: tuple[str, ...]


def training_data(out_dir: str) -> list[TrainingData]:
    """What models of the run were trained on where that was no selection, each once."""
    data = []
    for name in trained_models(out_dir):
        before = read_config(out_dir, f"finetune-{name}") or {}
        if before and before["finetune"]["selection"] is None:
            done = io.read_json(RunFolder(out_dir).model(name).record)
            held_out = done["settings"]["held_out"]  # a number: rows drawn by the training itself
            leaves_out = held_out if isinstance(held_out, str) else None
            hashes = tuple(done["settings"].get("rows", {}).get("sha256", ()))
            data.append(TrainingData(DataConfig(**before["data"]), leaves_out, hashes))
    return [one for index, one in enumerate(data) if one not in data[:index]]


def _find(
    out_dir: str, name: str, trained: list[str], model: ModelConfig, prompt: PromptConfig
) -> EvalModel:
    if name == BASE:
        return EvalModel(BASE, base_model(out_dir, model), run_prompt(out_dir, model, prompt))
    if name in trained:
        return _of_run(out_dir, name, model, prompt)
    path = _outside(out_dir, name, trained)
    with _of_models():
        other = resolve_model(ModelConfig(path, ignore_keys=model.ignore_keys))
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(path.rstrip("/"))) or "model"
    if label in (BASE, *trained):
        raise UserError(
            f"evaluate.models={name} would be called {label}, as a model of out_dir="
            f"{out_dir} is: name evaluate.models={label} for that one, or rename the folder"
        )
    return EvalModel(label, other, _answered(prompt.template))


@contextmanager
def _of_models() -> Iterator[None]:
    """The key in an error about such a model is evaluate.models."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("model.path", "evaluate.models", 1)) from error


def _outside(out_dir: str, name: str, trained: list[str]) -> str:
    """The folder or hub id of a model that is none of the run's. Raises UserError for a name."""
    is_path = "/" in name or name.startswith("~")
    if not is_path:
        raise UserError(
            f"evaluate.models={name}: out_dir={out_dir} has no such model (there are: "
            f"{', '.join([BASE, *trained])}): train it with {job_command('finetune')}, name "
            "another, or give a folder's path"
        )
    folder = os.path.abspath(os.path.expanduser(name))
    return folder if os.path.exists(folder) else name


def _of_run(out_dir: str, name: str, model: ModelConfig, prompt: PromptConfig) -> EvalModel:
    folder = RunFolder(out_dir).model(name).path
    if io.is_remote(folder):
        raise UserError(
            f"evaluate.models={name}: {folder} is on an object store, which neither transformers "
            "nor vLLM reads: copy it to a folder that every node sees and give that folder's path"
        )
    if io.exists(io.join(folder, ADAPTER_CONFIG)):
        adapter = io.read_json(io.join(folder, ADAPTER_CONFIG))
        base = ModelConfig(
            adapter["base_model_name_or_path"],
            adapter.get("revision"),
            adapter_path=folder,
            ignore_keys=base_model(out_dir, model).ignore_keys,
            tokenizer=_tokenizer_choice(out_dir, name),
        )
        return EvalModel(name, base, run_prompt(out_dir, model, prompt))
    return EvalModel(name, ModelConfig(folder), run_prompt(out_dir, model, prompt))


def _tokenizer_choice(out_dir: str, name: str) -> str:
    """model.tokenizer as the model was trained with it."""
    for stage in (f"finetune-{name}", "score"):
        before = read_config(out_dir, stage)
        if before and "tokenizer" not in before["model"]:
            return "transformers"  # before the key, nothing else was read
        if before and before["model"]["path"]:
            return ModelConfig(**before["model"]).tokenizer
    return ModelConfig().tokenizer


def trained_models(out_dir: str) -> list[str]:
    """The models under models/ of a run that are whole, sorted."""
    run = RunFolder(out_dir)
    return sorted(name for name in io.list_folders(run.models) if io.exists(run.model(name).record))
