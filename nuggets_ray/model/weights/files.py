"""The weight files of a model folder: which they are, whether they are whole, and what their
headers say. No weight is read.

A safetensors file is 8 bytes (length of the header), the header in JSON {name: {dtype, shape,
data_offsets}}, and the data. What is wrong is a `UserError` that names model.path and the file.
torch and transformers are imported inside functions.
"""

import json
import os
import zipfile
from typing import TYPE_CHECKING, Any

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LFS_POINTER = b"version https://git-lfs"
ZIP = b"PK\x03\x04"
MAX_HEADER_BYTES = 100_000_000
"""safetensors' own limit."""
AGAIN = "download it again"


def local_files(
    model: ModelConfig, resolved: str, model_config: Any, any_name: bool = False
) -> list[str]:
    """The whole files that transformers would load from `resolved` (a folder or a hub id), the same
    first; [] for a hub id whose files are not all in the cache.

    Raises UserError for a folder without any, unless they may have other names (`any_name`: vLLM
    reads more kinds), for a missing shard, and for a file that is not whole.
    """
    from huggingface_hub import try_to_load_from_cache

    if not os.path.isdir(resolved):
        cached = try_to_load_from_cache(resolved, "config.json", revision=model.revision or "main")
        try:
            folder = os.path.dirname(cached) if isinstance(cached, str) else None
            return [] if folder is None else _find(folder, model_config, model.path)
        except UserError:  # some shards are still to come
            return []
    files = _find(resolved, model_config, model.path)
    if not files and not any_name:
        raise _no_weights(resolved, model.path)
    for file in files:
        if fault := _fault(file):
            reason, way_out = fault
            raise UserError(
                f"model.path={model.path}: {os.path.basename(file)} {reason}: {way_out}"
            )
    return files


def read_headers(files: list[str]) -> "dict[str, Tensor]":
    """Every tensor of the files by name, on torch's meta device: dtype and shape only."""
    from transformers.modeling_utils import load_state_dict

    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= load_state_dict(file, map_location="meta")
    return tensors


def some(names: list[str], num: int = 3) -> str:
    """A few of the names, and how many there are beside them."""
    more = len(names) - num
    return ", ".join(names[:num]) + (f" and {more} more" if more > 0 else "")


def _find(folder: str, model_config: Any, path: str) -> list[str]:
    from transformers.utils import (
        SAFE_WEIGHTS_INDEX_NAME,
        SAFE_WEIGHTS_NAME,
        WEIGHTS_INDEX_NAME,
        WEIGHTS_NAME,
    )

    known = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)
    named = getattr(model_config, "transformers_weights", None)
    for name in (named,) if named else known:
        file = os.path.join(folder, name)
        if os.path.isfile(file):
            return _shards(file, path) if name.endswith(".index.json") else [file]
    return []


def _no_weights(folder: str, path: str) -> UserError:
    weights = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".ckpt", ".h5", ".msgpack")
    others = [name for name in sorted(os.listdir(folder)) if name.endswith(weights)]
    return UserError(
        f"model.path={path} holds no weights that transformers loads (model.safetensors or "
        f"pytorch_model.bin, whole or as the shards of an index; there is: "
        f"{some(others) if others else 'no file of weights'}): give the folder that "
        "save_pretrained wrote"
    )


def _shards(index_file: str, path: str) -> list[str]:
    folder, name = os.path.split(index_file)
    try:
        with open(index_file, encoding="utf-8") as opened:
            shards = sorted(set(json.load(opened)["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"model.path={path}: {name} is no index of weights ({type(error).__name__}): {AGAIN}"
        ) from error
    missing = [shard for shard in shards if not os.path.isfile(os.path.join(folder, shard))]
    if missing:
        raise UserError(
            f"model.path={path}: {len(missing)} of the {len(shards)} files that {name} names are "
            f"not there ({some(missing)}): download the rest"
        )
    return [os.path.join(folder, shard) for shard in shards]


def _fault(file: str) -> tuple[str, str] | None:
    """What is wrong with a file and what to do, as far as its first bytes and its size tell."""
    num_bytes = os.path.getsize(file)
    with open(file, "rb") as opened:
        start = opened.read(64)
        if start.startswith(LFS_POINTER):
            return "is a Git LFS pointer, not the weights", "run `git lfs pull` in that folder"
        if not num_bytes:
            return "is empty", AGAIN
        if not file.endswith(".safetensors"):
            # older files of torch are no zip, and what they hold shows only when they are read
            is_cut = start.startswith(ZIP) and not zipfile.is_zipfile(opened)
            return (f"is cut short ({num_bytes:,} bytes)", AGAIN) if is_cut else None
        header_bytes = int.from_bytes(start[:8], "little")
        if num_bytes < 8 or header_bytes > MAX_HEADER_BYTES or start[8:9] != b"{":
            return "is no safetensors file", AGAIN
        opened.seek(8)
        text = opened.read(header_bytes)
    if len(text) < header_bytes:
        return f"is cut short ({num_bytes:,} bytes, its header alone has {header_bytes:,})", AGAIN
    try:
        header = json.loads(text)
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError):
        return "has a damaged header", AGAIN
    expected = 8 + header_bytes + max(ends, default=0)
    if num_bytes == expected:
        return None
    how = "is cut short" if num_bytes < expected else "is longer than its header says"
    return f"{how} ({num_bytes:,} of {expected:,} bytes)", AGAIN
