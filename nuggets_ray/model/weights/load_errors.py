"""What transformers raises for a model that it cannot load, as one sentence with its cause.

Torch is imported where it is used.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError

MAX_CAUSE_CHARS = 300
OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "STATUS_ALLOC_FAILED",  # cuBLAS's and cuDNN's workspaces
)


def cannot_load(model: ModelConfig, error: Exception) -> UserError:
    """The sentence for `error`, which is not that memory ran out."""
    text = " ".join(str(error).split())
    for pattern, told in SENTENCES:
        if match := pattern.search(f"{type(error).__name__}: {text}"):
            return UserError(f"model.path={model.path} cannot be loaded: {told(match)}")
    cause = _cause(text) or type(error).__name__
    kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
    return UserError(
        f"model.path={model.path} cannot be loaded as a causal language model ({kind}{cause}): "
        "check the folder, or set model.trust_remote_code=true if its code comes with it"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error is CUDA's, one of its libraries', or the CPU allocator's, that there is not
    enough memory."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in OUT_OF_MEMORY)


def is_of_the_machine(error: BaseException) -> bool:
    """Whether the error says nothing of the model: memory, the device, another worker's end."""
    import torch

    if is_out_of_memory(error) or isinstance(
        error, torch.AcceleratorError | torch.distributed.DistError
    ):
        return True
    # gloo's errors have no type of their own
    return isinstance(error, RuntimeError) and bool(re.search(r"gloo|NCCL|by peer", str(error)))


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bar and its table of keys, which weights/check.py tells in a line."""
    from transformers.utils import logging as transformers_logging

    logger = logging.getLogger("transformers.modeling_utils")
    has_bar = transformers_logging.is_progress_bar_enabled()
    logger.addFilter(_is_no_report)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        logger.removeFilter(_is_no_report)
        if has_bar:
            transformers_logging.enable_progress_bar()


def _is_no_report(record: logging.LogRecord) -> bool:
    return "LOAD REPORT" not in record.getMessage()


def first_line(error: object) -> str:
    """The first line of a message, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _cause(text: str) -> str:
    """The first sentence, of bearable length."""
    sentence = re.split(r"(?<=\w)\. ", text, maxsplit=1)[0]
    cut = sentence[:MAX_CAUSE_CHARS]
    return cut.rstrip(". ") + ("..." if len(sentence) > MAX_CAUSE_CHARS else "")


Told = Callable[[re.Match[str]], str]
SENTENCES: tuple[tuple[re.Pattern[str], Told], ...] = (
    (
        re.compile(r"UnpicklingError: "),
        lambda match: (
            "a .bin file of it is damaged or holds more than tensors, which would run as code: "
            "give its weights as safetensors"
        ),
    ),
    (
        re.compile(r"SafetensorError: (.*)"),
        lambda match: (
            f"a safetensors file of it is damaged ({_cause(match[1])}): download it again"
        ),
    ),
    (
        re.compile(r"PytorchStreamReader failed"),
        lambda match: "a .bin file of it is damaged: download it again",
    ),
    (
        re.compile(r"[Pp]adding_idx must be within"),
        lambda match: (
            "pad_token_id in its config.json lies beyond its vocabulary (vocab_size): correct it, "
            "or set it to null"
        ),
    ),
    (
        re.compile(r"trust_remote_code=True"),
        lambda match: (
            "its modelling code comes with it: read the code, then set model.trust_remote_code=true"
        ),
    ),
    (
        re.compile(r"model type `?([\w.-]+)`? but Transformers does not recognize"),
        lambda match: (
            f"transformers here does not know its architecture ({match[1]}): upgrade transformers, "
            "set model.trust_remote_code=true if its code comes with it, or take "
            "score.backend=vllm"
        ),
    ),
    (
        re.compile(r"Unrecognized configuration class <class '[\w.]*?(\w+)'>"),
        lambda match: (
            f"its kind ({match[1].removesuffix('Config')}) is no causal language model: give one "
            "that continues text"
        ),
    ),
    (
        re.compile(r"(?:ImportError|ModuleNotFoundError|PackageNotFoundError): (.*)"),
        lambda match: (
            f"a package that it needs is not installed ({_cause(match[1])}): install it where "
            "the workers run, or give a model that does without"
        ),
    ),
)
"""(what to look for in "Type: message", the sentence). The first that is found is told."""
