"""What can change one candidate's numbers, as {key: value}: scores of different fingerprints never
share a folder.

Weights and tokenizer, dtype, backend, template and truncation, the anchors in order, the version of
the score code. Not in it: the candidates, data.limit, schedule, pack size, workers, cluster,
out_dir. Must not import ray.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from nuggets_ray.config import Config
from nuggets_ray.model import ADAPTER_CONFIG, load_config, resolve_path
from nuggets_ray.prompts import Prompt
from nuggets_ray.records import Anchor
from nuggets_ray.score.vllm_arguments import as_fingerprint

SCORE_VERSION = 2
"""Raise when a change of the code can change a candidate's numbers."""

EDGE_BYTES = 1 << 20
HUB_SNAPSHOT = re.compile(r"/models--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})/?$")
"""How huggingface_hub's cache names the folder of a model."""


def of_settings(
    config: Config, prompt: Prompt, tokenizer: PreTrainedTokenizerBase, dtype: str
) -> dict[str, Any]:
    """The part of the fingerprint that is known before any anchor is chosen."""
    anchors = config.anchors
    if anchors.method == "file":
        rule = f"file, num {anchors.num}"
    else:
        rule = f"{anchors.method}, num {anchors.num}, seed {config.seed}"
    return {
        "weights": of_weights(config),
        "tokenizer": of_tokenizer(tokenizer),
        "dtype": dtype,
        "backend": config.score.backend,
        "backend_arguments": as_fingerprint(config.score.vllm),
        "template": f"{prompt.name} {prompt.fingerprint}",
        "on_too_long": config.data.on_too_long,
        "anchors_rule": rule,
        "score_version": SCORE_VERSION,
    }


def of_anchors(anchors: Sequence[Anchor]) -> dict[str, str]:
    """The anchors' contents in order, as token ids and answer masks."""
    digest = hashlib.sha256()
    for anchor in anchors:
        digest.update(anchor.encoding.token_ids.astype("<i8").tobytes())
        digest.update(anchor.encoding.answer_mask.tobytes())
        digest.update(b"|")
    return {"anchors": digest.hexdigest()[:16]}


def of_weights(config: Config) -> str:
    """A folder: hash of its weight files' names, sizes, first and last MiB, and of config.json, an
    adapter's settings and the modelling code that model.trust_remote_code runs; a hub id, or its
    folder in the hub's cache, which stands for it while the hub cannot be reached: its commit.
    With model.ignore_keys where some are given.
    """
    ignored = config.model.ignore_keys
    return _of_files(config) + (f", ignore_keys {sorted(ignored)}" if ignored else "")


def _of_files(config: Config) -> str:
    path = resolve_path(config.model)
    if cached := HUB_SNAPSHOT.search(path):
        return f"{cached['name'].replace('--', '/', 1)}@{cached['commit']}"
    if not os.path.isdir(path):
        commit = load_config(config.model, any_architecture=True)._commit_hash
        return f"{path}@{commit or config.model.revision}"
    code = (".py",) if config.model.trust_remote_code else ()
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


def of_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash of the whole fast tokenizer (vocabulary, merges, normaliser, special tokens)."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode("utf-8")).hexdigest()[:16]
