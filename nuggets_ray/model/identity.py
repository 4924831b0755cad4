"""Whether two models, or two tokenizers, are the same: hashes of what they hold."""

import hashlib
import os
import re
from typing import TYPE_CHECKING

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.model.load import ADAPTER_CONFIG, load_config, resolve_path

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EDGE_BYTES = 1 << 20
HUB_SNAPSHOT = re.compile(r"/models--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})/?$")
"""How huggingface_hub's cache names the folder of a model."""


def weights_fingerprint(model: ModelConfig) -> str:
    """A folder: hash of its weight files' names, sizes, first and last MiB, and of config.json, an
    adapter's settings and the modelling code that model.trust_remote_code runs; a hub id, or its
    folder in the hub's cache, which stands for it while the hub cannot be reached: its commit.
    With model.ignore_keys where some are given.
    """
    ignored = model.ignore_keys
    return _of_files(model) + (f", ignore_keys {sorted(ignored)}" if ignored else "")


def _of_files(model: ModelConfig) -> str:
    path = resolve_path(model)
    if cached := HUB_SNAPSHOT.search(path):
        return f"{cached['name'].replace('--', '/', 1)}@{cached['commit']}"
    if not os.path.isdir(path):
        commit = load_config(model, any_architecture=True)._commit_hash
        return f"{path}@{commit or model.revision}"
    code = (".py",) if model.trust_remote_code else ()
    digest = hashlib.sha256()
    for name in sorted(os.listdir(path)):
        is_setting = name in ("config.json", ADAPTER_CONFIG)
        if is_setting or name.endswith((".safetensors", ".bin", ".pt", *code)):
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
