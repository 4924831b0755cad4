"""A peft adapter: the folder that peft writes, the model it belongs to, and that model with it.

Its folder holds adapter_config.json, which names its base, and adapter_model.safetensors. Given as
model.path it stands for its base with it; model.adapter_path puts one over another model. One that
only lies beside whole weights is left out. Peft and torch are imported where they are used.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.weights.files import some
from nuggets_ray.model.weights.load_errors import first_line, is_of_the_machine

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
WHOLE_WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
TOKENIZERS = ("tokenizer.json", "tokenizer.model")


def holds_adapter(folder: str) -> bool:
    return bool(folder) and os.path.isfile(os.path.join(folder, ADAPTER_CONFIG))


def is_adapter(folder: str) -> bool:
    """Whether a folder holds an adapter and no whole model: some trainers put config.json beside
    one."""
    return holds_adapter(folder) and not _there(folder, WHOLE_WEIGHTS)


def with_base(config: ModelConfig) -> ModelConfig:
    """Where model.path is an adapter: its base in place of it, and the adapter as adapter_path.

    Raises UserError for an adapter that names no base, or is none.
    """
    folder = config.adapter_path
    if folder is not None:
        if is_adapter(config.path):
            raise UserError(
                f"model.path={config.path} is an adapter too: give model.adapter_path={folder} "
                "over a whole model, or one of the two as model.path alone"
            )
        _read(folder, "model.adapter_path")
        return config
    if not is_adapter(config.path):
        return config
    described = _read(config.path, "model.path")
    base = described.get("base_model_name_or_path")
    if not base or is_adapter(base):
        what = f"lies over another adapter, {base}" if base else "does not say of which model"
        raise UserError(
            f"model.path={config.path} is a peft adapter that {what} (base_model_name_or_path in "
            f"{ADAPTER_CONFIG}): give model.path=BASE model.adapter_path={config.path}"
        )
    base = os.path.abspath(base) if os.path.isdir(base) else base
    revision = config.revision or described.get("revision")
    return replace(config, path=base, revision=revision, adapter_path=config.path)


def own_tokenizer(folder: str) -> bool:
    """Whether a tokenizer was saved with the adapter, which then is the one it was trained with."""
    return bool(_there(folder, TOKENIZERS))


def put_on(model: Any, folder: str) -> Any:
    """peft's model: `model` with the adapter in `folder` over it, nothing merged.

    Raises UserError where the two do not fit: peft would leave the rest of it random.
    """
    from peft import PeftModel

    try:
        adapted = PeftModel.from_pretrained(model, folder)
        result = adapted.load_adapter(folder, "default")  # again, for what it says of the keys
    except Exception as error:  # whatever peft raises for files that are not this model's
        if is_of_the_machine(error):
            raise
        raise _does_not_fit(model, folder, first_line(error)) from error
    if strange := [*result.missing_keys, *result.unexpected_keys]:
        raise _does_not_fit(model, folder, some(strange))
    return adapted


@contextmanager
def without_adapter(path: str) -> Iterator[str]:
    """`path`, or where an adapter lies beside the weights of that folder, which transformers would
    put over them unasked, a folder of links to all but it."""
    if not holds_adapter(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="nuggets_ray_model.") as folder:
        for name in os.listdir(path):
            if name not in (ADAPTER_CONFIG, *ADAPTER_WEIGHTS):
                os.symlink(os.path.abspath(os.path.join(path, name)), os.path.join(folder, name))
        yield folder


def _read(folder: str, key: str) -> dict[str, Any]:
    """adapter_config.json of a whole adapter. Raises UserError for what is none, or of a kind that
    is no change of weights."""
    if not holds_adapter(folder):
        raise UserError(
            f"{key}={folder} has no {ADAPTER_CONFIG}: give the folder that peft's save_pretrained "
            "wrote"
        )
    if not _there(folder, ADAPTER_WEIGHTS):
        raise UserError(
            f"{key}={folder} has {ADAPTER_CONFIG} and no {' or '.join(ADAPTER_WEIGHTS)}: download "
            "the rest"
        )
    try:
        with open(os.path.join(folder, ADAPTER_CONFIG), encoding="utf-8") as opened:
            described: dict[str, Any] = dict(json.load(opened))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{key}={folder}: {ADAPTER_CONFIG} is damaged: download it again"
        ) from error
    if described.get("num_virtual_tokens"):
        raise UserError(
            f"{key}={folder} is an adapter of kind {described.get('peft_type')}, which puts tokens "
            "of its own in front of every text: only one that changes weights (LoRA) can be scored"
        )
    return described


def _there(folder: str, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if os.path.isfile(os.path.join(folder, name))]


def _does_not_fit(model: Any, folder: str, why: str) -> UserError:
    return UserError(
        f"the adapter in {folder} does not fit model.path={model.name_or_path} ({why}): give the "
        f"base that it was trained on, in its {ADAPTER_CONFIG}"
    )
