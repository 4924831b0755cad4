"""Every architecture that transformers knows as a causal language model, built tiny, scored, and
held against an independent loop: the table of score/README.md.

`make architectures` writes it into the file; a slow test measures it anew. An architecture that is
refused is in it with what it is refused for, and one that cannot be built tiny with what stood in
the way.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from tiny_architectures import ARCHITECTURES, tiny_config
from tiny_models import draw_weights, make_anchor, random_ids
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
)

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import keep_soft_cap
from nuggets_ray.model.weights.check import check_kind
from nuggets_ray.records import Encoding
from nuggets_ray.score.engine import make_engine

README = Path(__file__).resolve().parents[2] / "nuggets_ray" / "score" / "README.md"
BEGIN, END = "<!-- architectures: make architectures -->", "<!-- /architectures -->"
TOLERANCE_NATS = 1e-4


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of an architecture: the engine that scores it, the largest difference from the
    loop in nats, and what the log-probs of earlier tokens move by when later ones change; or the
    reason why it is not scored.
    """

    architecture: str
    engine: str = ""
    error: float = np.nan
    leak: float = np.nan
    refusal: str = ""
    obstacle: str = ""


def measured(architecture: str) -> Measured:
    """Build it, make its engine as a run does, and compare."""
    try:
        config = tiny_config(architecture)
        check_kind(ModelConfig(architecture), config)
        torch.manual_seed(0)
        model = draw_weights(AutoModelForCausalLM.from_config(config), 1)
    except UserError as error:
        return Measured(architecture, refusal=str(error))
    # configurations and modelling code of any origin: what they lack is told in the table
    except Exception as error:
        return Measured(architecture, obstacle=f"{type(error).__name__}: {first_words(error)}")
    keep_soft_cap(model)
    try:
        engine = make_engine(model, ANCHORS)
    except UserError as error:
        return Measured(architecture, refusal=str(error))
    error = np.abs(engine.log_probs(PREFIXES) - loop(model)).max().item()
    return Measured(architecture, engine.name, error, leak(model))


@torch.inference_mode()
def loop(model: PreTrainedModel) -> np.ndarray:
    """Mean log-probs (C, A) of the answers, one pair a forward: no cache, no padding, no mask."""
    means = [[_mean(model, prefix, anchor) for anchor in ANCHORS] for prefix in PREFIXES]
    return np.array(means)


def _mean(model: PreTrainedModel, prefix: np.ndarray, anchor: Encoding) -> float:
    token_ids = [*prefix.tolist(), *anchor.token_ids.tolist()]
    logits = model(input_ids=torch.tensor([token_ids]), use_cache=False).logits[0]
    log_probs = logits.float().log_softmax(dim=-1)
    answers = [len(prefix) + n for n in np.flatnonzero(anchor.answer_mask) if len(prefix) + n]
    return float(np.mean([log_probs[n - 1, token_ids[n]].item() for n in answers]))


@torch.inference_mode()
def leak(model: PreTrainedModel) -> float:
    first = torch.from_numpy(random_ids(1, 40))
    second = torch.cat([first[:30], torch.from_numpy(random_ids(2, 10))])
    a, b = (model(input_ids=row[None], use_cache=False).logits[0, :30] for row in (first, second))
    return (a.float().log_softmax(dim=-1) - b.float().log_softmax(dim=-1)).abs().max().item()


def first_words(error: object) -> str:
    return " ".join(str(error).split())[:90]


def tables(rows: Sequence[Measured]) -> str:
    """The generated part of the README, between its marks."""
    engines = [
        f"| {row.architecture} | {row.engine} | {row.error:.0e} | {row.leak:.0e} |"
        for row in rows
        if row.engine
    ]
    return "\n".join(
        [
            BEGIN,
            f"Of transformers {transformers.__version__}, {len(engines)} architectures are scored:",
            "",
            "| architecture | engine | largest difference | later tokens move it by |",
            "|---|---|---|---|",
            *engines,
            "",
            *_lists(rows),
            END,
        ]
    )


def _lists(rows: Sequence[Measured]) -> Iterator[str]:
    """What is refused, by the reason, and what was not built."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if row.refusal:
            by_reason.setdefault(reason_of(row.refusal), []).append(row.architecture)
    for reason, names in by_reason.items():
        yield f"* Refused, {reason}: {', '.join(names)}"
    for row in rows:
        if row.obstacle:
            yield f"* Not built: {row.architecture} ({row.obstacle})"


def reason_of(refusal: str) -> str:
    """The kind of a refusal, without the figures and names of one model."""
    for words, reason in REASONS.items():
        if words in refusal:
            return reason
    return first_words(re.sub(r"^model\.path=\S* ", "", refusal))


def put_into(text: str, rows: Sequence[Measured]) -> str:
    before, _, rest = text.partition(BEGIN)
    return before + tables(rows) + rest.partition(END)[2]


REASONS = {
    "encoder-decoder": "as encoder-decoders",
    "no causal language model": "as their tokens see later ones",
    "score.engine=auto is not right": "as no engine gives the log-probs of their own forward",
    "cannot be run on tokens alone": "as tokens alone are not enough for their forward",
}
"""What the sentence of a refusal has in it: the words of the table."""
ANCHORS = [
    make_anchor(seed, *sizes) for seed, sizes in enumerate(((5, 1), (4, 9), (0, 6), (9, 40)))
]
PREFIXES = [random_ids(100, 40), random_ids(101, 3), random_ids(102, 0), random_ids(103, 90)]

if __name__ == "__main__":
    found = []
    for number, architecture in enumerate(sys.argv[1:] or ARCHITECTURES, 1):
        found.append(measured(architecture))
        print(f"{number} {found[-1]}", flush=True)
    if not sys.argv[1:]:
        README.write_text(put_into(README.read_text("utf-8"), found), "utf-8")
        print(f"wrote the table of architectures in {README}")
