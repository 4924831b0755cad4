"""Whether two models, or two tokenizers, are the same: hashes of what they hold."""

import hashlib
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.model.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from nuggets_ray.model.load import load_config, resolve_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EDGE_BYTES = 1 << 20
HUB_SNAPSHOT = re.compile(r"/models--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})/?$")
"""How huggingface_hub's cache names the folder of a model."""


def weights_fingerprint(model: ModelConfig) -> str:
    """A folder: hash of its weight files' names, sizes, first and last MiB, and of config.json and
    the modelling code that model.trust_remote_code runs; a hub id, or its folder in the hub's
    cache, which stands for it while the hub cannot be reached: its commit. With the same of the
    adapter over it, its settings included, and with model.ignore_keys, where there are any.
    """
    resolved, ignored = resolve_model(model), model.ignore_keys
    parts = [_of_files(resolved)]
    if resolved.adapter_path is not None:
        names = (ADAPTER_CONFIG, *ADAPTER_WEIGHTS)
        parts.append(f"adapter {_of_folder(resolved.adapter_path, names.__contains__)}")
    return ", ".join([*parts, *([f"ignore_keys {sorted(ignored)}"] if ignored else [])])


def _of_files(model: ModelConfig) -> str:
    path = model.path
    if cached := HUB_SNAPSHOT.search(path):
        return f"{cached['name'].replace('--', '/', 1)}@{cached['commit']}"
    if not os.path.isdir(path):
        commit = load_config(model, any_architecture=True)._commit_hash
        return f"{path}@{commit or model.revision}"
    code = (".py",) if model.trust_remote_code else ()
    endings = (".safetensors", ".bin", ".pt", *code)

    def counts(name: str) -> bool:
        return name == "config.json" or name.endswith(endings) and name not in ADAPTER_WEIGHTS

    return _of_folder(path, counts)


def _of_folder(path: str, counts: Callable[[str], bool]) -> str:
    digest = hashlib.sha256()
    for name in sorted(os.listdir(path)):
        if counts(name):
            file_path = os.path.join(path, name)
            size = os.path.getsize(file_path)
            digest.update(f"{name} {size} ".encode())
            with open(file_path, "rb") as file:
                digest.update(file.read(EDGE_BYTES))
                file.seek(max(0, size - EDGE_BYTES))
                digest.update(file.read())
    return digest.hexdigest()[:16]


def tokenizer_fingerprint(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Hash of the whole fast tokenizer (vocabulary, merges, normaliser, special tokens)."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode("utf-8")).hexdigest()[:16]
