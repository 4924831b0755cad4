"""What the bench measures: candidates and anchors as token ids, the same for every contender.

A case is `cut-200`: anchors cut at 200 tokens, demonstrations of 200; `uncut-...`: whole anchors;
`text-...`: whole anchors in the token ids that Data-Juicer makes of the same texts.
"""

import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nuggets_ray.anchors.file import load_examples
from nuggets_ray.config.schema import AnchorsConfig
from nuggets_ray.data.read import read_examples
from nuggets_ray.records import Encoding, Example

logger = logging.getLogger(__name__)

CUT_TOKENS = 200
"""Where the official script cuts its anchors (arXiv 2312.10302)."""
ANCHOR_FILE = "anchors/alpaca_gpt4_kmeans_100.json"
CANDIDATE_FILE = "candidates/alpaca_9229.json"
BYTES_A_TOKEN = 4


class Prompts(Protocol):
    """Of prompts.Prompt, what the bench uses."""

    def anchor(self, example: Example) -> Encoding: ...

    def demonstration(self, example: Example) -> Encoding: ...


MakePrompts = Callable[[int | None], Prompts]
"""The prompts for a number of tokens that anchors are cut to (None: whole)."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Demonstrations, and anchors as (prompt, answer), as text."""

    prefixes: tuple[str, ...]
    anchors: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """A case: any candidate of `prefixes` against all `anchors`. `texts` only where a contender
    takes no token ids."""

    name: str
    prefixes: tuple[np.ndarray, ...]
    anchors: tuple[Encoding, ...]
    texts: Texts | None = None

    @property
    def num_anchor_tokens(self) -> int:
        return sum(anchor.num_tokens for anchor in self.anchors)

    @property
    def num_answer_tokens(self) -> int:
        return sum(anchor.num_answer_tokens for anchor in self.anchors)

    def sample(self, num_anchors: int) -> "Workload":
        """The first candidate and `num_anchors` anchors, spread evenly over the lengths."""
        by_length = np.argsort([anchor.num_tokens for anchor in self.anchors], kind="stable")
        places = np.linspace(0, len(by_length) - 1, min(num_anchors, len(by_length))).round()
        chosen = by_length[places.astype(int)].tolist()
        texts = self.texts and Texts(
            self.texts.prefixes[:1], tuple(self.texts.anchors[a] for a in chosen)
        )
        name = f"sample of {self.name}"
        return Workload(name, self.prefixes[:1], tuple(self.anchors[a] for a in chosen), texts)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it; `work_from_json` reads it."""
        return {
            "name": self.name,
            "prefixes": [prefix.tolist() for prefix in self.prefixes],
            "anchors": [(a.token_ids.tolist(), a.answer_mask.tolist()) for a in self.anchors],
            "texts": self.texts and [self.texts.prefixes, self.texts.anchors],
        }


def work_from_json(fields: dict[str, Any]) -> Workload:
    """The Work that `to_json` wrote."""
    texts = None
    if fields["texts"]:
        prefix_texts, anchor_texts = fields["texts"]
        texts = Texts(
            tuple(prefix_texts), tuple((prompt, answer) for prompt, answer in anchor_texts)
        )
    return Workload(
        name=fields["name"],
        prefixes=tuple(np.array(ids, dtype=np.int64) for ids in fields["prefixes"]),
        anchors=tuple(
            Encoding(np.array(ids, dtype=np.int64), np.array(mask, dtype=bool))
            for ids, mask in fields["anchors"]
        ),
        texts=texts,
    )


@dataclass(frozen=True, slots=True)
class WorkloadSource:
    """The examples that the work is made of, and where they are from, in words."""

    anchors: tuple[Example, ...]
    candidates: tuple[Example, ...]
    note: str


def load_source(num_anchors: int | None) -> WorkloadSource:
    """The official 100 anchors and Alpaca rows from the folder that NUGGETS_TEST_DATA names; the
    packaged demo's where it names none, or they are absent from it.

    `num_anchors`: the first N of the file (None: all). Raises UserError where it has fewer.
    """
    folder = Path(os.environ.get("NUGGETS_TEST_DATA", ""))
    if (folder / ANCHOR_FILE).is_file() and (folder / CANDIDATE_FILE).is_file():
        anchors, candidates = str(folder / ANCHOR_FILE), str(folder / CANDIDATE_FILE)
        note = "the official 100 anchors, candidates of Alpaca"
    else:
        logger.warning("NUGGETS_TEST_DATA=%s has no %s: the demo's anchors", folder, ANCHOR_FILE)
        anchors = candidates = "demo"
        note = "the packaged demo's anchors and candidates (the official 100 are not here)"
    chosen = load_examples(AnchorsConfig(method="file", num=num_anchors, path=anchors))
    if num_anchors:
        note += f", the first {num_anchors} anchors"
    examples = [row.example for row in read_examples(candidates, "alpaca").examples]
    return WorkloadSource(tuple(chosen), tuple(examples), note)


def make_works(
    names: Sequence[str], source: WorkloadSource, prompts: MakePrompts, num_candidates: int
) -> dict[str, Workload]:
    """The cases `names` (each KIND-N), with `num_candidates` demonstrations of exactly N tokens.

    Those are the rows with the fewest tokens from N on, cut to N; where there are too few, rows are
    joined. Anchors are cut where the kind is `cut`.
    """
    whole = prompts(None)
    rows = [whole.demonstration(example).token_ids for example in source.candidates]
    works = {}
    for name in names:
        kind, _, tokens = name.partition("-")
        prompt = prompts(CUT_TOKENS if kind == "cut" else None)
        anchors = tuple(prompt.anchor(example) for example in source.anchors)
        prefixes = _of_length(rows, int(tokens), num_candidates)
        works[name] = Workload(name, tuple(prefixes), anchors)
    return works


def _of_length(rows: Sequence[np.ndarray], num_tokens: int, num: int) -> list[np.ndarray]:
    long_enough = sorted((row for row in rows if len(row) >= num_tokens), key=len)
    joined = itertools.cycle(rows)
    while len(long_enough) < num:
        row = next(joined)
        while len(row) < num_tokens:
            row = np.concatenate([row, next(joined)])
        long_enough.append(row)
    return [row[:num_tokens] for row in long_enough[:num]]


class RandomPrompts:
    """Prompts for a model without a tokenizer: random ids, one for each 4 bytes of text."""

    def __init__(self, vocab_size: int, max_anchor_tokens: int | None) -> None:
        self.vocab_size = vocab_size
        self.max_anchor_tokens = max_anchor_tokens

    def anchor(self, example: Example) -> Encoding:
        """Like `demonstration`, cut to `max_anchor_tokens`."""
        whole = self.demonstration(example)
        kept = slice(0, self.max_anchor_tokens)
        return Encoding(whole.token_ids[kept], whole.answer_mask[kept])

    def demonstration(self, example: Example) -> Encoding:
        """The same ids at every call: they are drawn by the example's own content."""
        masks = [
            np.full(1 + len(message.content.encode()) // BYTES_A_TOKEN, message.is_answer)
            for message in example.messages
        ]
        answer_mask = np.concatenate(masks)
        digest = hashlib.sha256(example.content_id.encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        return Encoding(rng.integers(0, self.vocab_size, len(answer_mask)), answer_mask)
