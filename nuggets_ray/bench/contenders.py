"""The contenders that compute here: our engines, the reference, the naive way, the official
script's algorithm, vLLM. Each loads once, prepares a work (anchors), then scores candidates of it.

All return mean log-probs of the anchors' answers, (C, A) in nats per answer token, as reference.py
does. torch, transformers and vllm are imported inside functions: data_juicer.py loads this module
in an environment of its own.

Legend: N rows of a batch, L tokens of its longest, V vocabulary, C candidates, A anchors.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nuggets_ray.bench.data_juicer import load_filter
from nuggets_ray.bench.task import NotMeasured, Task
from nuggets_ray.bench.workload import Workload, work_from_json
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.records import Encoding

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

NAIVE_BATCH_TOKENS = 2048
OFFICIAL_BATCH_ROWS = 8
"""The fastest sizes of 1,024 to 8,192 and of 2 to 16 on the demo model, on a core."""

UNASKED_TOKENS = 32
"""What stands in front of an answer alone: as many as a short chat template's empty question."""

Score = Callable[[Sequence[int]], np.ndarray]
"""Candidates, as indices into the work's prefixes -> log-probs (C, A)."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A contender that is ready: `prepare(work)` makes what scores the work's candidates. `counts`
    are its own totals, such as pairs scored again; `model` is None where it is not ours to look
    into."""

    prepare: Callable[[Workload], Score]
    counts: Mapping[str, int] = field(default_factory=dict)
    model: "PreTrainedModel | None" = None
    max_pack_tokens: int = 0


def load(task: Task) -> Loaded:
    """The contender of `task.kind`. Raises NotMeasured or UserError where it cannot run here."""
    return LOADERS[task.kind](task)


def _engine(task: Task) -> Loaded:
    from nuggets_ray.score.engine import make_engine
    from nuggets_ray.score.speed import UNASKED, Speed

    model = load_transformers(task)
    is_compiled = task.kind == "tree_compiled"
    kind, size = "tree" if is_compiled else task.kind, task.max_pack_tokens
    speed = Speed(compile_layers=True, compile_head=True) if is_compiled else UNASKED

    def prepare(work: Workload) -> Score:
        engine = make_engine(model, work.anchors, engine=kind, max_pack_tokens=size, speed=speed)
        if is_compiled and not engine.details["speed"]["compile_layers"]:
            raise NotMeasured(f"nothing is compiled here: {engine.why}")
        return lambda candidates: engine.log_probs([work.prefixes[c] for c in candidates])

    return Loaded(prepare, model=model, max_pack_tokens=_pack_tokens(task, model))


def _pack_tokens(task: Task, model: "PreTrainedModel") -> int:
    """Tokens of a forward: what was asked, or what the engine takes for the first work."""
    from nuggets_ray.score.pack_size import default_pack_tokens

    works = [work_from_json(work) for work in task.works[:1]]
    anchors = works[0].anchors if works else ()
    return task.max_pack_tokens or default_pack_tokens(model, anchors, gpu_share=1.0)


def _tree_signals(task: Task) -> Loaded:
    """The tree engine with all signals taken down beside the scores. The second half of a
    demonstration stands for its answer, its first tokens for a prompt that asks nothing; what is
    computed once a worker, the anchors' states, is not in a run."""
    from types import SimpleNamespace

    from nuggets_ray.records import Anchor
    from nuggets_ray.score.engine import make_engine
    from nuggets_ray.score.row_signals import RowSignals
    from nuggets_ray.signals.names import COLUMNS_OF

    model = load_transformers(task)

    def prepare(work: Workload) -> Score:
        size = task.max_pack_tokens
        engine = make_engine(model, work.anchors, engine="tree", max_pack_tokens=size)
        nothing = np.zeros(0, np.int64)
        first = work.prefixes[0]
        prompt: Any = SimpleNamespace(zero_shot_prefix=nothing, unasked_ids=first[:UNASKED_TOKENS])
        named = [Anchor(f"{n}", f"{n}", "", "", one) for n, one in enumerate(work.anchors)]
        signals = RowSignals(engine, prompt, named, tuple(COLUMNS_OF))

        def score(candidates: Sequence[int]) -> np.ndarray:
            ids = [work.prefixes[c] for c in candidates]
            shown = [Encoding(one, np.arange(len(one)) >= len(one) // 2) for one in ids]
            passed = signals.passed(shown)
            for candidate, one, through in zip(candidates, shown, passed, strict=True):
                signals.add(f"candidate {candidate}", one, through)
            signals.take()
            return np.stack([through.one_shot_A for through in passed])

        score([0])  # the anchors' states
        return score

    return Loaded(prepare, model=model, max_pack_tokens=_pack_tokens(task, model))


def _reference(task: Task) -> Loaded:
    from nuggets_ray.score.reference import reference_log_probs

    model = load_transformers(task)
    return Loaded(
        lambda work: (
            lambda candidates: reference_log_probs(
                model, work.anchors, [work.prefixes[c] for c in candidates]
            )
        )
    )


def _naive(task: Task) -> Loaded:
    model = load_transformers(task)
    return Loaded(lambda work: lambda candidates: _each(naive_log_probs, model, work, candidates))


def _official(task: Task) -> Loaded:
    model = load_transformers(task)
    return Loaded(
        lambda work: lambda candidates: _each(official_log_probs, model, work, candidates)
    )


def _vllm(task: Task) -> Loaded:
    from nuggets_ray.score.vllm_engine import make_vllm_engine

    works = [work_from_json(work) for work in task.works]
    engine = make_vllm_engine(
        ModelConfig(task.model_path, task.revision, task.trust_remote_code),
        task.dtype,
        [anchor for work in works for anchor in work.anchors],
        max_prefix_tokens=max(len(prefix) for work in works for prefix in work.prefixes),
        num_gpus=0 if task.device == "cpu" else 1,
        reads_prefix_cache=task.kind == "vllm_prefix_cache",
    )
    if task.kind == "vllm_prefix_cache" and not engine.reads_prefix_cache:
        raise NotMeasured(f"vLLM does not read its cache here: {engine.why}")

    def prepare(work: Workload) -> Score:
        def score(candidates: Sequence[int]) -> np.ndarray:
            engine.anchors = list(work.anchors)
            return engine.log_probs([work.prefixes[c] for c in candidates])

        return score

    return Loaded(prepare, counts=engine.counts)


def _sglang(task: Task) -> Loaded:
    from nuggets_ray.bench.sglang import load_sglang

    peer = load_sglang(task)
    return Loaded(
        lambda work: (
            lambda candidates: peer.log_probs([work.prefixes[c] for c in candidates], work.anchors)
        ),
        counts=peer.counts,
    )


def load_transformers(task: Task) -> "PreTrainedModel":
    """The task's model in transformers, with as many threads as it is given."""
    import torch

    from nuggets_ray.bench.random_models import SIZES, make_random_model
    from nuggets_ray.model.load import load_model

    torch.set_num_threads(task.threads)
    if task.model_path in SIZES:
        return make_random_model(task.model_path, task.dtype, task.device)
    config = ModelConfig(task.model_path, task.revision, task.trust_remote_code)
    return load_model(config, task.dtype, task.device)


def _each(
    log_probs: Callable[["PreTrainedModel", Sequence[Encoding], np.ndarray], np.ndarray],
    model: "PreTrainedModel",
    work: Workload,
    candidates: Sequence[int],
) -> np.ndarray:
    import torch

    with torch.inference_mode():
        rows = [log_probs(model, work.anchors, work.prefixes[c]) for c in candidates]
    return np.stack(rows)


def naive_log_probs(
    model: "PreTrainedModel", anchors: Sequence[Encoding], prefix: np.ndarray
) -> np.ndarray:
    """Pair by pair, in right-padded batches of similar length through the model's own forward:
    (A,).

    The vocabulary projection starts at the batch's first answer; softmax at answer rows only. No
    mask: what pads a row stands behind all that it sees.
    """
    import torch

    from nuggets_ray.score.batches import make_batches, pad_rows

    means_A = np.zeros(len(anchors))
    lengths = [anchor.num_tokens for anchor in anchors]
    for batch in make_batches(lengths, len(prefix), NAIVE_BATCH_TOKENS, same_length=False):
        rows = [np.concatenate([prefix, anchors[a].token_ids]) for a in batch]
        token_ids_NL = pad_rows(rows)[0].to(model.device)
        answers = [len(prefix) + np.flatnonzero(anchors[a].answer_mask) for a in batch]
        first_row = min((int(some[0]) - 1 for some in answers if len(some)), default=-1)
        if first_row < 0:  # the batch has no answer token
            continue
        # As indices: after a number of rows, the projection copies its weights for each row of the
        # batch (12% of the time).
        kept = torch.arange(first_row, token_ids_NL.shape[1], device=model.device)
        logits_NLV = model(input_ids=token_ids_NL, use_cache=False, logits_to_keep=kept).logits
        for n, anchor in enumerate(batch):
            if not len(answers[n]):
                continue
            at = torch.from_numpy(answers[n] - 1 - first_row).to(model.device)
            log_probs_RV = logits_NLV[n, at].float().log_softmax(-1)
            means_A[anchor] = mean_log_prob(log_probs_RV, token_ids_NL[n, answers[n]])
    return means_A


def official_log_probs(
    model: "PreTrainedModel", anchors: Sequence[Encoding], prefix: np.ndarray
) -> np.ndarray:
    """The official script's algorithm (arXiv 2312.10302): (A,).

    The demonstration's KV cache once, expanded over each batch of anchors; all anchors padded to
    the longest; log_softmax over the whole vocabulary at every position, in the model's dtype.
    """
    import torch

    from nuggets_ray.score.batches import pad_rows

    means_A = np.zeros(len(anchors))
    prefix_1P = torch.from_numpy(prefix)[None].to(model.device)
    whole = model(input_ids=prefix_1P, use_cache=True, logits_to_keep=1)
    token_ids_AL, mask_AL = pad_rows([anchor.token_ids for anchor in anchors])
    for start in range(0, len(anchors), OFFICIAL_BATCH_ROWS):
        batch = slice(start, start + OFFICIAL_BATCH_ROWS)
        token_ids_NL = token_ids_AL[batch].to(model.device)
        mask = [torch.ones(len(token_ids_NL), len(prefix), dtype=torch.long), mask_AL[batch]]
        log_probs_NLV = model(
            input_ids=token_ids_NL,
            attention_mask=torch.cat(mask, dim=1).to(model.device),
            past_key_values=_expanded(whole.past_key_values, len(token_ids_NL)),
            use_cache=True,
        ).logits.log_softmax(-1)
        for n, anchor in enumerate(anchors[batch]):
            answers = np.flatnonzero(anchor.answer_mask)
            at = torch.from_numpy(answers[answers > 0] - 1).to(model.device)
            log_probs_RV = log_probs_NLV[n, at]
            if len(answers) and answers[0] == 0:  # predicted by the demonstration's last token
                log_probs_RV = torch.cat([whole.logits[0].log_softmax(-1), log_probs_RV])
            if len(answers):
                means_A[start + n] = mean_log_prob(log_probs_RV, token_ids_NL[n, answers])
    return means_A


def _expanded(cache: Any, num_rows: int) -> Any:
    expanded = copy.deepcopy(cache)
    expanded.batch_repeat_interleave(num_rows)
    return expanded


def mean_log_prob(log_probs_RV: "torch.Tensor", token_ids_R: "torch.Tensor") -> float:
    """Mean over R answer rows of the log-prob of each row's token."""
    return float(log_probs_RV.gather(1, token_ids_R[:, None]).double().mean())


LOADERS: dict[str, Callable[[Task], Loaded]] = {
    "tree": _engine,
    "tree_compiled": _engine,
    "tree_signals": _tree_signals,
    "kv_cache": _engine,
    "plain": _engine,
    "reference": _reference,
    "naive": _naive,
    "official": _official,
    "data_juicer": lambda task: Loaded(load_filter(task)),
    "sglang": _sglang,
    "vllm": _vllm,
    "vllm_prefix_cache": _vllm,
}
