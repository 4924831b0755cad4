"""Which held-out rows are also in the training rows or among the anchors, whole or nearly so.

    J(a, b) = |A & B| / |A | B|,   A, B: the sets of word 5-grams of the normalised texts
A near-duplicate has J >= 0.8, the usual measure and threshold (Broder 1997; Lee et al. 2022,
2107.06499), computed exactly: only shingles of the held-out rows are held in memory, and the other
rows pass by in chunks. Suffixes: H held-out rows, R rows of a block.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nuggets_ray.data.shingles import Shingles, shingles
from nuggets_ray.prompts.spelled import plain_text
from nuggets_ray.records import Example

MIN_SIMILARITY = 0.8
BLOCK_ROWS = 1024
SAME_CONTENT = "same_content"
NEAR_DUPLICATE = "near_duplicate"


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row as it is compared: its text, all turns with what stands beside their texts, and no
    template, whose fixed words would make short rows alike."""

    example_id: str
    content_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """A held-out row to leave out: `reason` is same_content or near_duplicate, `twin_id` the row of
    `source` most like it, and `similarity` their Jaccard index."""

    example_id: str
    reason: str
    source: str
    twin_id: str
    similarity: float


def text_row(example_id: str, example: Example) -> TextRow:
    """The row of an example."""
    return TextRow(example_id, example.content_id, plain_text(example))


def find_overlaps(
    held_out: Sequence[TextRow],
    sources: Mapping[str, Iterable[Sequence[TextRow]]],
    min_similarity: float = MIN_SIMILARITY,
) -> list[Overlap]:
    """The held-out rows that have a twin, in their order, each with its closest one.

    `sources` maps a name (anchors, a selection) to chunks of rows of any size. Equal content_id
    counts before likeness; among equally close twins the first met is named. The measure is strict
    on short rows: with one word changed in its midst a row counts from 49 words on. Texts alike in
    meaning only, or the same prompt with another answer, are not found.
    """
    if not held_out:
        return []
    position = {row.content_id: index for index, row in enumerate(held_out)}
    similarities = _similarity_to([shingles(row.text) for row in held_out])
    closest: dict[int, Overlap] = {}
    for source, chunks in sources.items():
        for block in _blocks(chunks):
            for row in block:
                if (index := position.get(row.content_id)) is not None:
                    twin = _overlap(held_out[index], SAME_CONTENT, source, row, 1.0)
                    _keep_closest(closest, index, twin)
            for index, place, similarity in similarities(block, min_similarity):
                twin = _overlap(held_out[index], NEAR_DUPLICATE, source, block[place], similarity)
                _keep_closest(closest, index, twin)
    overlaps = []
    for index, row in enumerate(held_out):
        # equal rows of the held-out file share one position
        overlap = closest.get(index) or closest.get(position[row.content_id])
        if overlap is not None:
            overlaps.append(replace(overlap, example_id=row.example_id))
    return overlaps


def _overlap(held: TextRow, reason: str, source: str, twin: TextRow, similarity: float) -> Overlap:
    return Overlap(held.example_id, reason, source, twin.example_id, similarity)


def _keep_closest(closest: dict[int, Overlap], index: int, twin: Overlap) -> None:
    def rank(overlap: Overlap) -> tuple[bool, float]:
        return overlap.reason == SAME_CONTENT, overlap.similarity

    if index not in closest or rank(twin) > rank(closest[index]):
        closest[index] = twin


def _blocks(chunks: Iterable[Sequence[TextRow]]) -> Iterator[Sequence[TextRow]]:
    """The chunks cut so that a block's similarities, at most rows x held-out rows, stay small."""
    for chunk in chunks:
        for start in range(0, len(chunk), BLOCK_ROWS):
            yield chunk[start : start + BLOCK_ROWS]


def _similarity_to(
    held_out: Sequence[Shingles],
) -> Callable[[Sequence[TextRow], float], Iterator[tuple[int, int, float]]]:
    """A function from a block of rows to (held-out index, place in the block, similarity) of every
    pair that reaches the similarity given."""
    from sklearn.feature_extraction.text import CountVectorizer  # seconds

    vectorizer = CountVectorizer(analyzer=_identity)
    held_out_HV: Any = vectorizer.fit_transform(held_out)
    num_held_out_H = np.array([len(shingles_of) for shingles_of in held_out])
    known = frozenset(vectorizer.vocabulary_)

    def pairs(block: Sequence[TextRow], min_similarity: float) -> Iterator[tuple[int, int, float]]:
        shingles_of = [shingles(row.text) for row in block]
        # J <= |A & B| / |B|, so most rows are done with before any pair is looked at
        place_R = np.array(
            [
                i
                for i, row in enumerate(shingles_of)
                if len(row & known) / len(row) >= min_similarity
            ],
            int,
        )
        if not len(place_R):
            return
        num_row_R = np.array([len(shingles_of[i]) for i in place_R])
        shared = (held_out_HV @ vectorizer.transform([shingles_of[i] for i in place_R]).T).tocoo()
        # shingles that no held-out row has count in the union only
        similarity = shared.data / (
            num_held_out_H[shared.row] + num_row_R[shared.col] - shared.data
        )
        for at in np.lexsort((shared.col, shared.row)):
            if similarity[at] >= min_similarity:
                yield int(shared.row[at]), int(place_R[shared.col[at]]), float(similarity[at])

    return pairs


def _identity(shingle_set: Shingles) -> Shingles:
    return shingle_set
