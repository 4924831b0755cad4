"""Does a way of computing log-probs agree with the reference on this model, and do its anchors not
see each other? Asked once, when an engine is made.

Agreement: four candidates and three anchors of random tokens. Of the demonstrations one is empty,
two are short enough to share a pack, one is longer than any sliding window or chunk (where the
context allows) and split over packs; a one-token answer is among the anchors.

Isolation: every second anchor gets other tokens, of the same number, and the answers of the rest
must not move. The shapes are the same, so that a dense model does not move at all; what rounding
moves is told by model_check.py. It finds what agreement cannot in bfloat16, whose rounding hides
a small leak.

Legend: C candidates, A anchors.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.model.load import max_context_tokens
from nuggets_ray.model.weights.load_errors import is_of_the_machine
from nuggets_ray.records import Encoding
from nuggets_ray.score.kv_cache import takes_positions
from nuggets_ray.score.model_check import most_noise, quartile
from nuggets_ray.score.own import OwnSums
from nuggets_ray.score.reference import reference_log_probs
from nuggets_ray.score.rope import max_shared_tokens

logger = logging.getLogger(__name__)


class ComputeLogProbs(Protocol):
    """A way of computing log-probs; see tree.tree_log_probs."""

    def __call__(
        self,
        model: PreTrainedModel,
        anchors: Sequence[Encoding],
        prefixes: Sequence[np.ndarray],
        max_pack_tokens: int,
        own: OwnSums | None = None,
    ) -> torch.Tensor: ...


TOLERANCE_NATS = {torch.float32: 1e-4, torch.bfloat16: 0.75}
"""Largest difference that is taken for rounding: in float32 of a mean log-prob; in bfloat16 of one
token's, so that a mean over n tokens may differ by 0.75 / sqrt(n). Measured on the demo model, 12
draws: single tokens differ by up to 0.21, means of 20 and of 44 by up to 0.045, in every engine.
"""
WINDOW = re.compile(r"(window|chunk)(_size|_length)?$")
"""Keys of configurations under which layers say how far they see, or in what chunks they work."""
MAX_CHECK_TOKENS = 8448
"""A longer window is not checked: no demonstration reaches it, and the check would take long."""
CHECK_PACK_TOKENS = 175
CHECK_PREFIX_TOKENS = (0, 5, 9, 110)
CHECK_ANCHOR_TOKENS = (7, 27, 45)
CHECK_ANSWER_TOKENS = (1, 20, 44)
ISOLATION_PACK_TOKENS = 120
ISOLATION_PREFIX_TOKENS = (0, 4, 90)
ISOLATION_ANCHOR_TOKENS = range(3, 11)
KNOWN_LAYER_TYPES = frozenset({"full_attention", "sliding_attention", "chunked_attention"})


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """What an engine is asked of one model, with the right answers; `noise` as of check_model."""

    model: PreTrainedModel
    noise: float
    anchors: Sequence[Encoding]
    prefixes: Sequence[np.ndarray]
    reference_CA: np.ndarray

    @classmethod
    def of(cls, model: PreTrainedModel, noise: float) -> "SelfCheck":
        config = model.config.get_text_config()
        anchors, prefixes = check_anchors(config), check_prefixes(config)
        return cls(model, noise, anchors, prefixes, reference_log_probs(model, anchors, prefixes))

    @property
    def tolerance_A(self) -> np.ndarray:
        tolerance_A = np.full(len(self.anchors), TOLERANCE_NATS[self.model.dtype])
        return tolerance_A / (np.sqrt(CHECK_ANSWER_TOKENS) if self.is_bfloat16 else 1.0)

    @property
    def is_bfloat16(self) -> bool:
        return self.model.dtype == torch.bfloat16

    def reason_against(self, name: str, log_probs: ComputeLogProbs) -> str | None:
        """Why the engine `name` must not be used with the model; None if nothing is wrong."""
        if reason := _unable(name, self.model):
            return reason
        try:
            with torch.inference_mode():
                got = log_probs(self.model, self.anchors, self.prefixes, CHECK_PACK_TOKENS)
                leak = _leak(log_probs, self.model)
        # Modelling code of any origin runs here and may raise anything: what it says is the reason.
        except Exception as error:
            if is_of_the_machine(error):
                raise
            return (
                f"{name} failed with {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            )
        difference_CA = np.abs(torch.as_tensor(got).cpu().numpy() - self.reference_CA)
        # Written so that NaN is a difference.
        if not (difference_CA <= self.tolerance_A).all():
            largest = difference_CA.max()
            return f"{name} differs by {largest:.2g} nats per answer token from the reference"
        if leak > most_noise(self.model.dtype, self.noise):
            return f"{name} lets anchors see each other ({leak:.2g} nats per answer token)"
        return None

    def verdict(self, name: str) -> str:
        """What is told of an engine that nothing is wrong with; a WARNING where no wrong mask would
        have been seen, as hiding the demonstration moves nothing."""
        agrees = f"{name} agrees with the reference"
        moves_CA = np.abs(self.reference_CA[1:] - self.reference_CA[0])
        if (moves_CA > self.tolerance_A).any():
            return agrees
        blind = (
            "the check is blind: without a demonstration the log-probs move by at most "
            f"{moves_CA.max():.2g} nats, which is within its tolerance (random weights?)"
        )
        logger.warning("%s", blind)
        return f"{agrees}; {blind}"


def check_anchors(config: Any) -> list[Encoding]:
    """Three anchors of random tokens, whose answers are one, most and all but one of them."""
    sizes = zip(CHECK_ANCHOR_TOKENS, CHECK_ANSWER_TOKENS, strict=True)
    rng = np.random.default_rng(0)
    return [_anchor(rng, config, *size) for size in sizes]


def check_prefixes(config: Any) -> list[np.ndarray]:
    """Four demonstrations of random tokens, the last longer than the windows that fit."""
    rng = np.random.default_rng(1)
    *short, long = CHECK_PREFIX_TOKENS
    limit = _max_tokens(config) - max(CHECK_ANCHOR_TOKENS)
    past = [window + max(CHECK_ANCHOR_TOKENS) for window in windows(config)]
    long = max([tokens for tokens in past if long < tokens <= limit], default=min(long, limit))
    return [_tokens(rng, config, num_tokens) for num_tokens in (*short, max(long, 0))]


def windows(config: Any) -> list[int]:
    """How far layers see, and in what chunks they work, as the configuration has it."""
    return [
        value
        for key, value in config.to_dict().items()
        if WINDOW.search(key) and type(value) is int and value > 0
    ]


def _max_tokens(config: Any) -> int:
    """The most tokens of a demonstration and an anchor that engines may share."""
    limits = (max_context_tokens(config), max_shared_tokens(config), MAX_CHECK_TOKENS)
    return min(tokens for tokens in limits if tokens is not None)


def _unable(name: str, model: PreTrainedModel) -> str | None:
    """Why the engine cannot do the model's layers, as the configuration tells."""
    types = getattr(model.config.get_text_config(), "layer_types", None) or ()
    if name != "plain" and (strange := set(types) - KNOWN_LAYER_TYPES):
        return f"{name} cannot do layers of type {', '.join(sorted(strange))}"
    if name == "tree" and not takes_positions(model):
        return "tree cannot set positions (the model takes none)"
    return None


def _leak(log_probs: ComputeLogProbs, model: PreTrainedModel) -> float:
    """What most one-token answers move by, in nats, when the anchors between them change."""
    config = model.config.get_text_config()
    rng = np.random.default_rng(3)
    longest = max(_max_tokens(config) - max(ISOLATION_ANCHOR_TOKENS), 0)
    lengths = [min(num_tokens, longest) for num_tokens in ISOLATION_PREFIX_TOKENS]
    prefixes = [_tokens(rng, config, num_tokens) for num_tokens in lengths]
    anchors, others = (
        [_anchor(rng, config, num_tokens, 1) for num_tokens in ISOLATION_ANCHOR_TOKENS]
        for _ in range(2)
    )
    changed = [pair[index % 2] for index, pair in enumerate(zip(anchors, others, strict=True))]
    before_CA, after_CA = (
        torch.as_tensor(log_probs(model, asked, prefixes, ISOLATION_PACK_TOKENS))
        for asked in (anchors, changed)
    )
    return quartile((after_CA - before_CA)[:, ::2])


def _anchor(
    rng: np.random.Generator, config: Any, num_tokens: int, num_answer_tokens: int
) -> Encoding:
    answer_mask = np.arange(num_tokens) >= num_tokens - num_answer_tokens
    return Encoding(_tokens(rng, config, num_tokens), answer_mask)


def _tokens(rng: np.random.Generator, config: Any, num_tokens: int) -> np.ndarray:
    token_ids: np.ndarray = rng.integers(0, config.vocab_size, num_tokens)
    return token_ids
