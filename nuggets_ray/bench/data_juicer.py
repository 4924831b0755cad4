"""Data-Juicer's in_context_influence_filter as a contender, in an environment of its own.

It joins the texts of demonstration, anchor prompt and anchor answer by blanks, tokenises the whole,
and takes the model's loss over the last tokens, as many as the answer alone has (one fewer where
the tokenizer has a BOS, even one that it does not add): one pair a forward, logits at every
position. `text_work` gives the other contenders just these token ids and these answer tokens.
data_juicer is imported inside functions.
"""

import logging
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nuggets_ray.bench.task import NotMeasured, Task
from nuggets_ray.bench.workload import Texts, Workload
from nuggets_ray.demo.files import cache_dir
from nuggets_ray.records import Encoding

logger = logging.getLogger(__name__)

PACKAGES = ("py-data-juicer==1.6.1", "datasets==4.7.0")
FILTER_MODULE = "data_juicer.ops.filter.in_context_influence_filter"
STAMP = "made.txt"


def environment_python() -> Path:
    """The interpreter of Data-Juicer's environment. Raises NotMeasured where it was not made."""
    folder = environment_folder()
    if not (folder / STAMP).is_file():
        raise NotMeasured("bench.make_peer_env=true installs Data-Juicer (some 200 MB)")
    return folder / "bin" / "python"


def environment_folder() -> Path:
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    return cache_dir() / f"bench-{PACKAGES[0].replace('==', '-')}-{version}"


def make_environment() -> None:
    """Install Data-Juicer into a folder of NUGGETS_CACHE, once.

    Packages that it does not pin otherwise (torch, transformers) are those of this environment,
    which a .pth file puts behind its own: both then run the same kernels. Raises NotMeasured when
    pip fails.
    """
    folder = environment_folder()
    if (folder / STAMP).is_file():
        return
    logger.info("installing %s into %s", ", ".join(PACKAGES), folder)
    _call(sys.executable, "-m", "venv", "--clear", str(folder))
    python = str(folder / "bin" / "python")
    own = _call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # Last in order of name: the environment's own .pth files come first.
    Path(own, "zz_shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _call(python, "-m", "pip", "install", "--quiet", *PACKAGES)
    _call(python, "-c", f"import {FILTER_MODULE}")
    (folder / STAMP).write_text("\n".join(PACKAGES) + "\n")


def _call(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NotMeasured(f"`{' '.join(command[:5])}` failed: {ended.stderr.strip()[-300:]}")
    return ended.stdout


def text_work(work: Workload, tokenizer: Any) -> Workload:
    """The same examples as Data-Juicer tokenises and scores them, with their texts.

    Raises NotMeasured where the tokenizer merges across the blanks that join the texts, so that
    anchors do not have the same ids after every demonstration, or where an answer cannot be told
    apart.
    """
    prefixes = tuple(tokenizer.decode(prefix).strip() for prefix in work.prefixes)
    anchors = tuple(
        tuple(
            tokenizer.decode(a.token_ids[part]).strip() for part in (~a.answer_mask, a.answer_mask)
        )
        for a in work.anchors
    )
    prefix_ids = [tokenizer(text).input_ids for text in prefixes]
    encodings: list[Encoding] = []
    for prompt, answer in anchors:
        num_answer_tokens = len(tokenizer(answer).input_ids) - int(
            tokenizer.bos_token_id is not None
        )
        ids = [tokenizer(" ".join([text, prompt, answer])).input_ids for text in prefixes]
        tails = {
            tuple(whole[len(start) :]) if whole[: len(start)] == start else None
            for whole, start in zip(ids, prefix_ids, strict=True)
        }
        tail = tails.pop()
        if tails or tail is None:
            raise NotMeasured("the tokenizer joins the texts' tokens: no common token ids")
        if not 0 < num_answer_tokens <= len(tail):
            raise NotMeasured("an anchor's answer is too short: Data-Juicer would score everything")
        mask = np.arange(len(tail)) >= len(tail) - num_answer_tokens
        encodings.append(Encoding(np.array(tail, dtype=np.int64), mask))
    return Workload(
        work.name,
        tuple(np.array(ids, dtype=np.int64) for ids in prefix_ids),
        tuple(encodings),
        Texts(prefixes, tuple((prompt, answer) for prompt, answer in anchors)),
    )


def load_filter(task: Task) -> Callable[[Workload], Callable[[Sequence[int]], np.ndarray]]:
    """The filter itself, as contenders.Loaded.prepare: its losses are taken down, (C, A) log-probs.

    What it would do around it (datasets, processes, the zero-shot losses) is left out.
    """
    import importlib

    import torch
    from data_juicer.utils.constant import Fields

    torch.set_num_threads(task.threads)
    base = importlib.import_module(FILTER_MODULE).InContextInfluenceFilter
    losses: list[float] = []

    class Recording(base):  # type: ignore[misc, valid-type]
        def _loss(self, *arguments: Any, **keywords: Any) -> float:
            loss: float = super()._loss(*arguments, **keywords)
            losses.append(loss)
            return loss

    operator = Recording(hf_model=task.model_path, model_params={"dtype": task.dtype})

    def prepare(work: Workload) -> Callable[[Sequence[int]], np.ndarray]:
        assert work.texts
        texts = work.texts
        samples = [{"messages": _messages(prompt, answer)} for prompt, answer in texts.anchors]

        def score(candidates: Sequence[int]) -> np.ndarray:
            operator.valid_feature = {
                "valid_samples": samples,
                "valid_losses": [1.0] * len(samples),  # its zero-shot losses, once a run
            }
            losses.clear()
            for candidate in candidates:
                demonstration = _messages(texts.prefixes[candidate])
                operator.compute_stats_single({"messages": demonstration, Fields.stats: {}})
            return -np.array(losses).reshape(len(candidates), len(samples))

        return score

    return prepare


def _messages(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]
