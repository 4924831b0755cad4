"""Candidates and anchors that are made up: no data, no run folder and no model."""

from collections import Counter

import numpy as np

from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.run.candidates import CandidateIds


def make_candidates(contents: list[str], num_tokens: list[int]) -> CandidateIds:
    """A candidate for each content_id, with a demonstration of so many tokens; one that came before
    is a copy.
    """
    num_rows = len(contents)
    seen: Counter[str] = Counter()
    copies = []
    for content_id in contents:
        seen[content_id] += 1
        copies.append(seen[content_id])
    names = zip(contents, copies, strict=True)
    return CandidateIds(
        parts=("part",),
        part_N=np.zeros(num_rows, np.int32),
        row_N=np.arange(num_rows, dtype=np.int32),
        example_id_N=np.array([c if n == 1 else f"{c}-{n}" for c, n in names]),
        content_id_N=np.array(contents),
        is_duplicate_N=np.array(copies) > 1,
        num_tokens_N=np.array(num_tokens, np.int64),
        num_dropped_tokens_N=np.zeros(num_rows, np.int32),
    )


def make_anchor(content_id: str, num_tokens: int = 5, num_answer_tokens: int = 2) -> Anchor:
    """An anchor whose last tokens are its answer."""
    position = np.arange(num_tokens)
    encoding = Encoding(position, position >= num_tokens - num_answer_tokens)
    return Anchor(content_id, content_id, "file", "", encoding)
