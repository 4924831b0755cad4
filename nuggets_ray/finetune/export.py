"""A DeepSpeed checkpoint -> a model folder in Hugging Face format, or a peft adapter.

Weights are read from memory-mapped files and written shard by shard, so that no host holds a whole
model (ZeRO 3 through DeepSpeed's lazy tensors). The dtype is the one that was trained in: what is
exported is what the training's forward pass used.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from typing import Any

import torch

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.finetune.deepspeed_config import zero_stage
from nuggets_ray.finetune.engine import TAG, lora_config
from nuggets_ray.finetune.plain_load import plain_load
from nuggets_ray.model.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, put_on
from nuggets_ray.model.load import LOAD_ERRORS, load_config, load_model, resolve_path
from nuggets_ray.model.size import empty_model
from nuggets_ray.model.tokenizer_file import is_read_alike
from nuggets_ray.umask import follow_umask

logger = logging.getLogger(__name__)

MAX_SHARD = "5GB"


def export_weights(
    model: ModelConfig, config: FinetuneConfig, dtype: str, checkpoint: str, folder: str
) -> None:
    """Write the weights and configuration of `checkpoint`, a local folder, into `folder`."""
    tensors = checkpoint_tensors(checkpoint, config)
    if config.method == "full":
        write_shards(tensors, model, folder, getattr(torch, dtype))
        write_config(model, dtype, folder)
    else:
        write_adapter(tensors, model, config, dtype, folder)
        if config.lora_merge:
            merge(model, dtype, folder)
    follow_umask(folder)


def checkpoint_tensors(checkpoint: str, config: FinetuneConfig) -> dict[str, Any]:
    """The trained model's tensors by name, none in memory yet (`.contiguous()` reads one)."""
    if zero_stage(config) == 3:
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        is_lora = config.method == "lora"
        with plain_load():
            lazy: dict[str, Any] = get_fp32_state_dict_from_zero_checkpoint(
                checkpoint, tag=TAG, exclude_frozen_parameters=is_lora, lazy_mode=True
            )
        return lazy
    path = os.path.join(checkpoint, TAG, "mp_rank_00_model_states.pt")
    with plain_load():
        state = torch.load(path, map_location="cpu", mmap=True)
    module: dict[str, Any] = state["module"]
    return module


def write_shards(
    tensors: Mapping[str, Any], model: ModelConfig, folder: str, dtype: torch.dtype
) -> None:
    """Safetensors of at most MAX_SHARD with their index; a tied weight is written once.

    Names are those that other tools know: transformers fuses the experts of a mixture as it loads,
    and takes them apart again here.
    """
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file
    from transformers.core_model_loading import revert_weight_conversion

    distinct = _distinct(tensors)
    empty = {
        name: torch.empty(tensor.shape, dtype=_dtype(tensor, dtype), device="meta")
        for name, tensor in distinct.items()
    }
    split = split_torch_state_dict_into_shards(empty, max_shard_size=MAX_SHARD)
    skeleton = empty_model(model)
    os.makedirs(folder, exist_ok=True)
    files: dict[str, str] = {}
    for file, names in split.filename_to_tensors.items():
        shard = {
            name: distinct[name].contiguous().to(_dtype(distinct[name], dtype)) for name in names
        }
        shard = revert_weight_conversion(skeleton, shard)
        shard = {name: tensor.contiguous() for name, tensor in shard.items()}
        save_file(shard, os.path.join(folder, file), metadata={"format": "pt"})
        files |= dict.fromkeys(shard, file)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": files}
        with open(os.path.join(folder, "model.safetensors.index.json"), "w") as opened:
            json.dump(index, opened, indent=1)


def _distinct(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors without further names of the same one (tied embeddings)."""
    seen: set[object] = set()
    distinct = {}
    for name, tensor in tensors.items():
        place: object = id(tensor)
        if isinstance(tensor, torch.Tensor):
            place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape)
        if place not in seen:
            seen.add(place)
            distinct[name] = tensor
    return distinct


def _dtype(tensor: Any, dtype: torch.dtype) -> torch.dtype:
    # an integer buffer stays what it is
    own: torch.dtype = tensor.dtype
    return dtype if own.is_floating_point else own


def write_config(model: ModelConfig, dtype: str, folder: str) -> None:
    """config.json of the base model in the new dtype, and its own modelling code if it has any."""
    path = resolve_path(model)
    config = load_config(model)
    config.dtype = dtype
    config.save_pretrained(folder)
    if model.trust_remote_code and os.path.isdir(path):
        for name in os.listdir(path):
            if name.endswith(".py"):
                shutil.copy(os.path.join(path, name), folder)


def write_adapter(
    tensors: Mapping[str, Any],
    model: ModelConfig,
    config: FinetuneConfig,
    dtype: str,
    folder: str,
) -> None:
    """The adapter as peft writes it, to be loaded over the base model."""
    from safetensors.torch import save_file

    os.makedirs(folder, exist_ok=True)
    named = {
        f"base_model.model.{name.replace('.default.', '.')}": tensor.contiguous().to(
            getattr(torch, dtype)
        )
        for name, tensor in tensors.items()
        if ".lora_" in name
    }
    save_file(named, os.path.join(folder, ADAPTER_WEIGHTS[0]), metadata={"format": "pt"})
    described = lora_config(config, load_config(model))
    described.base_model_name_or_path = resolve_path(model)
    described.revision = model.revision
    described.inference_mode = True
    described.save_pretrained(folder)


def merge(model: ModelConfig, dtype: str, folder: str) -> None:
    """Replace the adapter in `folder` by whole weights with its update added, in float32.

    Raises UserError where adapter and model do not fit: peft would leave the rest of it random.
    """
    merged = put_on(load_model(model, "float32", "cpu"), folder).merge_and_unload()
    for name in (*ADAPTER_WEIGHTS, ADAPTER_CONFIG, "README.md"):
        if os.path.exists(os.path.join(folder, name)):
            os.unlink(os.path.join(folder, name))
    merged.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=MAX_SHARD)


def write_tokenizer(tokenizer: Any, model: ModelConfig, end_id: int, folder: str) -> None:
    """The tokenizer with its chat template, and generation settings, both of which end an answer at
    `end_id`, as the model was trained to: whoever serves it needs to know nothing else.
    """
    from transformers import GenerationConfig

    # a template may write eos_token itself, somewhere else than behind an answer (Phi-3)
    if tokenizer.eos_token_id != end_id and "eos_token" not in (tokenizer.chat_template or ""):
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end_id)
    tokenizer.save_pretrained(folder)
    if not is_read_alike(tokenizer, folder, trust_remote_code=model.trust_remote_code):
        logger.warning(
            "AutoTokenizer takes a class for this kind of model that reads the tokenizer.json it "
            "was trained with otherwise: load the exported tokenizer by "
            "transformers.PreTrainedTokenizerFast.from_pretrained"
        )
    try:
        generation = GenerationConfig.from_pretrained(
            resolve_path(model), revision=model.revision or "main"
        )
    except LOAD_ERRORS:
        generation = GenerationConfig.from_model_config(load_config(model))
    known = generation.eos_token_id
    before = [] if known is None else list(known) if isinstance(known, list) else [known]
    ids = list(dict.fromkeys([end_id, *before]))
    generation.eos_token_id = ids[0] if len(ids) == 1 else ids
    if generation.pad_token_id is None:
        generation.pad_token_id = tokenizer.pad_token_id or ids[0]
    if generation.temperature is not None or generation.top_p is not None:
        generation.do_sample = True  # their presence without it is an error when saving
    generation.save_pretrained(folder)
