"""The scoring engine: one-shot log-probs of all anchors after any candidate's demonstration.

Three ways, tried in this order: the token tree, an expanded KV cache, plain padded batches. The
first that agrees with reference.py on this model is used. When memory runs out, packs are halved,
the work goes on, and after a while larger ones are tried again.

Legend: C candidates, A anchors.
"""

import logging
import resource
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.errors import UserError
from nuggets_ray.model.body import state_size
from nuggets_ray.model.weights.load_errors import is_out_of_memory
from nuggets_ray.records import Encoding
from nuggets_ray.score.attention_choice import choose_attention
from nuggets_ray.score.fall_back import slow_warnings
from nuggets_ray.score.kv_cache import kv_cache_log_probs
from nuggets_ray.score.model_check import check_model
from nuggets_ray.score.own import Own, OwnSums, pass_alone
from nuggets_ray.score.pack_size import default_pack_tokens, has_room_for_gather
from nuggets_ray.score.plain import plain_log_probs
from nuggets_ray.score.rope import max_shared_tokens
from nuggets_ray.score.self_check import ComputeLogProbs, SelfCheck
from nuggets_ray.score.speed import AS_IT_IS, UNASKED, Speed, to_try
from nuggets_ray.score.tree import tree_log_probs

logger = logging.getLogger(__name__)

T = TypeVar("T")
GROUPS_BEFORE_LARGER = 16
"""Groups of candidates that pass in smaller packs before larger ones are tried again; twice as many
after each time that this fails."""


class Engine:
    """A model replica with its anchors (contract.ScoringEngine). `max_pack_tokens` is the current
    size, halved whenever memory ran out and in time doubled again."""

    def __init__(
        self,
        model: PreTrainedModel,
        anchors: Sequence[Encoding],
        name: str,
        why: str,
        max_pack_tokens: int,
        speed: Speed = AS_IT_IS,
    ) -> None:
        self.model = model
        self.speed = speed
        self.name = name
        self.why = why
        self.max_pack_tokens = max_pack_tokens
        self.counts: dict[str, int] = {}
        self.details: dict[str, Any] = {"speed": asdict(speed)} if name == "tree" else {}
        self._full_pack_tokens = max_pack_tokens
        self._num_calm, self._patience, self._is_trying = 0, GROUPS_BEFORE_LARGER, False
        self._max_shared_tokens = max_shared_tokens(model.config)
        self.use_anchors(anchors)

    def use_anchors(self, anchors: Sequence[Encoding]) -> None:
        """Score on these from now on."""
        self.anchors = list(anchors)
        self._anchor_tokens = [anchor.num_tokens for anchor in self.anchors]

    @torch.inference_mode()
    def log_probs(self, prefixes: Sequence[np.ndarray]) -> np.ndarray:
        """Mean log-prob of every anchor's answer after every prefix: (C, A) float32, nats per
        answer token.

        The zero-shot baseline is the same call with the zero-shot prefix, which may be empty: then
        an anchor's very first token has no prediction and does not count. 0.0 for an anchor without
        answer tokens; NaN and infinities are passed on. Raises ValueError for a token that the
        model has no embedding for, before the device sees it: a GPU would be lost to the process.
        """
        return self._pass(prefixes, None, with_states=False)[0]

    @torch.inference_mode()
    def log_probs_and_own(
        self, demonstrations: Sequence[Encoding], with_states: bool
    ) -> tuple[np.ndarray, Own]:
        """`log_probs` after demonstrations, and what they tell of themselves in the same pass (the
        plain engine: in one more)."""
        prefixes = [demonstration.token_ids for demonstration in demonstrations]
        return self._pass(prefixes, demonstrations, with_states)

    @torch.inference_mode()
    def own(self, sequences: Sequence[Encoding], with_states: bool) -> Own:
        """What sequences tell of themselves, without any anchor; on a CPU one at a time, so that
        company never matters."""
        for sequence in sequences:
            check_embedded(self.model, sequence.token_ids)

        def alone(max_tokens: int) -> OwnSums:
            own = OwnSums(self.model, sequences, with_states)
            pass_alone(self.model, own, max_tokens if self.model.device.type == "cuda" else 1)
            return own

        shortest = min((sequence.num_tokens for sequence in sequences), default=0)
        return self._own([self._with_less_memory(alone, shortest)], with_states)

    def peak_memory_bytes(self) -> int:
        """Of the GPU's allocator; on a CPU of this process."""
        if self.model.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def _pass(
        self,
        prefixes: Sequence[np.ndarray],
        demonstrations: Sequence[Encoding] | None,
        with_states: bool,
    ) -> tuple[np.ndarray, Own]:
        """Log-probs after the prefixes; where they are given as demonstrations, what those tell of
        themselves too."""
        for prefix in prefixes:
            check_embedded(self.model, prefix)
        parts, owns = [torch.zeros(0, len(self.anchors))], []
        start = 0
        while start < len(prefixes):
            stop = self._group_stop(prefixes, start)
            asked = None if demonstrations is None else demonstrations[start:stop]
            part, own = self._group_log_probs(prefixes[start:stop], asked, with_states)
            parts.append(part)
            if own is not None:
                owns.append(own)
            start = stop
        # The first wait for the device: until here the next group is laid out while it computes.
        return torch.cat([part.cpu() for part in parts]).numpy(), self._own(owns, with_states)

    def _own(self, sums: Sequence[OwnSums], with_states: bool) -> Own:
        means = [one.means() for one in sums]
        log_probs = [torch.zeros(0), *(log_prob_D.cpu() for log_prob_D, _ in means)]
        if not with_states:
            return Own(torch.cat(log_probs).numpy(), None)
        size = state_size(self.model)
        states = [torch.zeros(0, size), *(state.cpu() for _, state in means if state is not None)]
        return Own(torch.cat(log_probs).numpy(), torch.cat(states).numpy())

    def _group_stop(self, prefixes: Sequence[np.ndarray], start: int) -> int:
        """Where the candidates that share packs end; on a CPU each is alone, and never varies."""
        stop, used = start, 0
        while stop < len(prefixes):
            used += len(prefixes[stop]) + sum(self._anchor_tokens)
            if stop > start and (self.model.device.type == "cpu" or used > self.max_pack_tokens):
                break
            stop += 1
        return stop

    def _group_log_probs(
        self,
        prefixes: Sequence[np.ndarray],
        demonstrations: Sequence[Encoding] | None,
        with_states: bool,
    ) -> tuple[torch.Tensor, OwnSums | None]:
        longest = max(map(len, prefixes)) + max(self._anchor_tokens, default=0)
        shares = self._max_shared_tokens is None or longest <= self._max_shared_tokens
        log_probs = computing(self.name, self.speed) if shares else plain_log_probs

        def computed(max_tokens: int) -> tuple[torch.Tensor, OwnSums | None]:
            own = None
            if demonstrations is not None:
                own = OwnSums(self.model, demonstrations, with_states)
            return log_probs(self.model, self.anchors, prefixes, max_tokens, own), own

        # Below the shortest anchor every segment is alone: smaller packs would not help.
        return self._with_less_memory(computed, min(self._anchor_tokens, default=0))

    def _with_less_memory(self, compute: Callable[[int], T], shortest: int) -> T:
        """`compute(max_pack_tokens)`, with half of them whenever memory runs out."""
        if self.max_pack_tokens < self._full_pack_tokens and self._num_calm >= self._patience:
            self.max_pack_tokens = min(self._full_pack_tokens, 2 * self.max_pack_tokens)
            self._num_calm, self._is_trying = 0, True
            logger.info("trying max_pack_tokens=%d again", self.max_pack_tokens)
        while True:
            try:
                result = compute(self.max_pack_tokens)
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.max_pack_tokens <= shortest:
                    raise
            else:
                self._num_calm += 1
                self._is_trying = False
                return result
            if self._is_trying:
                self._patience *= 2
            self._num_calm, self._is_trying = 0, False
            self.max_pack_tokens //= 2
            logger.warning("out of memory: going on with max_pack_tokens=%d", self.max_pack_tokens)
            if self.model.device.type == "cuda":
                torch.cuda.empty_cache()


def make_engine(
    model: PreTrainedModel,
    anchors: Sequence[Encoding],
    *,
    engine: str = "auto",
    max_pack_tokens: int | None = None,
    gpu_share: float = 1.0,
    speed: Speed = UNASKED,
) -> Engine:
    """An engine for `model` (in eval mode) and `anchors`, checked against the reference.

    `engine` is tree, kv_cache, plain, or auto: the first of them that agrees. `max_pack_tokens` is
    the most tokens of one forward (default 4,096 on a CPU; on a GPU by its memory, of which this
    process may have `gpu_share`). `speed` is the tree's: what of it disagrees is left out. Raises
    UserError when the engine asked for, or under auto every engine, disagrees with the reference,
    the model can be scored with by none, or an anchor holds a token that the model has no embedding
    for.
    """
    try:
        for anchor in anchors:
            check_embedded(model, anchor.token_ids)
    except ValueError as error:
        raise UserError(
            f"model.path: its tokenizer is not its model's, an anchor cannot be scored ({error}): "
            "give the tokenizer that the model was trained with, or resize its embeddings"
        ) from error
    if engine != "auto" and engine not in ENGINES:
        raise UserError(f"score.engine={engine} is not known: use auto, {', '.join(ENGINES)}.")
    check = SelfCheck.of(model, check_model(model))
    reasons: list[str] = []
    for name, way in _ways(engine, speed, model.device.type):
        reason = check.reason_against(name, computing(name, way))
        if reason is None:
            why = "; ".join([*reasons, check.verdict(name)])
            size = max_pack_tokens or default_pack_tokens(
                model, anchors, gpu_share, way.gpu_attention
            )
            if name == "tree" and model.device.type == "cuda" and speed.gpu_attention == "auto":
                way = _faster(way, check, anchors, size, gpu_share)
            logger.info("engine %s: %s", name if way == AS_IT_IS else f"{name} ({way.told()})", why)
            made = Engine(model, anchors, name, why, size, way)
            if warnings := slow_warnings(model, name, anchors, size, reasons):
                made.details["warnings"] = warnings
            return made
        told = f"{reason} ({way.told()})" if name == "tree" and way != AS_IT_IS else reason
        logger.warning("%s", told)
        reasons.append(told)
    way_out = (
        "use score.engine=auto" if engine != "auto" else "try score.dtype=float32, or another model"
    )
    raise UserError(
        f"score.engine={engine} is not right for this model ({'; '.join(reasons)}): {way_out}."
    )


def computing(name: str, speed: Speed) -> ComputeLogProbs:
    """The engine `name`; `speed` is the tree's."""
    return partial(tree_log_probs, speed=speed) if name == "tree" else ENGINES[name]


def _ways(engine: str, speed: Speed, device_type: str) -> Iterator[tuple[str, Speed]]:
    """Engines to try in turn, the tree in every way that it can be computed."""
    for name in ENGINES if engine == "auto" else (engine,):
        for way in to_try(speed, device_type) if name == "tree" else [AS_IT_IS]:
            yield name, way


def _faster(
    way: Speed,
    check: SelfCheck,
    anchors: Sequence[Encoding],
    max_pack_tokens: int,
    gpu_share: float,
) -> Speed:
    """`way`, by gather where there is room for it, it is the faster and agrees with the
    reference."""
    if way.gpu_attention != "merge" or not anchors:
        return way
    if not has_room_for_gather(check.model, anchors, max_pack_tokens, gpu_share):
        logger.info("gather's copies do not fit beside packs of %d tokens: merge", max_pack_tokens)
        return way
    chosen = choose_attention(check.model, anchors, max_pack_tokens)
    gather = replace(way, gpu_attention=chosen)
    if gather == way or check.reason_against("tree", computing("tree", gather)) is None:
        return gather
    logger.warning("gather disagrees with the reference: going on with merge")
    return way


def check_embedded(model: PreTrainedModel, token_ids: np.ndarray) -> None:
    """Raise ValueError for ids past the rows of the model's embedding."""
    embedding: Any = model.get_input_embeddings()
    num_rows = int(embedding.weight.shape[0])
    highest = int(token_ids.max(initial=0))
    if highest >= num_rows:
        raise ValueError(f"token id {highest} is past the model's {num_rows} embeddings")


ENGINES: dict[str, ComputeLogProbs] = {
    "tree": tree_log_probs,
    "kv_cache": kv_cache_log_probs,
    "plain": plain_log_probs,
}
