"""Damaged copies of whole candidates: the demo measures how well a score tells the two apart.

Kinds: answer_swapped (another row's answer, same language), cut (the first half of the answer),
shuffled (its words in another order), refusal (a refusal instead), wrong_language (the answer of a
row in another language). Every draw is the order of SHA-256 hashes of the seed and the row's
number, so it is the same on every Python version. Imports the standard library only.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

NUM_PER_KIND = 12
MIN_WORDS = 8  # a shorter answer, cut or shuffled, can still be a fair one
LANGUAGES_CATEGORY = "languages"
REFUSALS = (
    "I'm sorry, but I can't help with that request.",
    "As an AI language model, I am not able to answer this question.",
    "Unfortunately this is something I cannot do. Please consult a professional.",
    "I do not have enough information to give you an answer.",
    "I would rather not respond to this. Is there anything else I can help you with?",
    "Sorry, I cannot comply with this request because it goes against my guidelines.",
    "I apologise, but I am unable to assist you with this topic at the moment.",
)

Row = Mapping[str, Any]


def add_damaged_copies(
    rows: Sequence[Row], seed: int, num_per_kind: int = NUM_PER_KIND
) -> list[dict[str, Any]]:
    """Every row as it is, followed by its damaged copy if it was drawn for one.

    Rows have instruction, input, output, category and language. Added: `damage` ("none", or the
    kind) and `source_row`, the number in `rows` of the row or of the copy's original. A row gets at
    most one copy, and no two rows returned are equal in content. ValueError if two rows have the
    same prompt, or too few rows fit a kind.
    """
    prompts = {(row["instruction"].strip(), row["input"].strip()) for row in rows}
    if len(prompts) < len(rows):
        raise ValueError("two rows have the same instruction and input")
    copies: dict[int, dict[str, Any]] = {}
    for kind, spoil in DAMAGES.items():
        spoilt: dict[int, dict[str, Any]] = {}
        for index in _shuffled((i for i in range(len(rows)) if i not in copies), seed, kind):
            answer = spoil(rows, index, seed)
            if len(spoilt) < num_per_kind and answer not in (None, rows[index]["output"].strip()):
                changed = {"output": answer, "damage": kind, "source_row": index}
                spoilt[index] = {**rows[index], **changed}
        if len(spoilt) < num_per_kind:
            raise ValueError(f"damage {kind}: {len(spoilt)} rows fit it, {num_per_kind} are needed")
        copies.update(spoilt)
    result = []
    for index, row in enumerate(rows):
        result.append({**row, "damage": "none", "source_row": index})
        if index in copies:
            result.append(copies[index])
    return result


def swap_answer(rows: Sequence[Row], index: int, seed: int) -> str | None:
    """The answer of another row in the same language; None if there is none that differs."""
    row = rows[index]
    donors = [
        i
        for i, donor in enumerate(rows)
        if donor["language"] == row["language"] and donor["output"].strip() != row["output"].strip()
    ]
    return _answer_of_one(rows, donors, index, seed)


def cut_answer(rows: Sequence[Row], index: int, seed: int) -> str | None:
    """The first half of the answer's words, line breaks kept; None if it is short."""
    answer = rows[index]["output"].strip()
    words = list(re.finditer(r"\S+", answer))
    return answer[: words[len(words) // 2 - 1].end()] if len(words) >= MIN_WORDS else None


def shuffle_words(rows: Sequence[Row], index: int, seed: int) -> str | None:
    """The answer's words in another order; None if it is short."""
    words = rows[index]["output"].split()
    if len(words) < MIN_WORDS:
        return None
    return " ".join(words[i] for i in _shuffled(range(len(words)), seed, "words", index))


def refuse(rows: Sequence[Row], index: int, seed: int) -> str | None:
    """A refusal instead; None for a row that is not English, as the refusals are."""
    if rows[index]["language"] != "en":
        return None
    return REFUSALS[_shuffled(range(len(REFUSALS)), seed, "refusal", index)[0]]


def answer_in_wrong_language(rows: Sequence[Row], index: int, seed: int) -> str | None:
    """The answer of a row of the category languages in another language; None if there is none."""
    donors = [
        i
        for i, donor in enumerate(rows)
        if donor["category"] == LANGUAGES_CATEGORY and donor["language"] != rows[index]["language"]
    ]
    return _answer_of_one(rows, donors, index, seed)


def _answer_of_one(rows: Sequence[Row], donors: Sequence[int], index: int, seed: int) -> str | None:
    if not donors:
        return None
    answer: str = rows[_shuffled(donors, seed, "donor", index)[0]]["output"]
    return answer.strip()


def _shuffled(numbers: Iterable[int], *key: object) -> list[int]:
    def draw(number: int) -> str:
        return hashlib.sha256(":".join(map(str, (*key, number))).encode("utf-8")).hexdigest()

    return sorted(numbers, key=draw)


DAMAGES: dict[str, Callable[[Sequence[Row], int, int], str | None]] = {
    "answer_swapped": swap_answer,
    "cut": cut_answer,
    "shuffled": shuffle_words,
    "refusal": refuse,
    "wrong_language": answer_in_wrong_language,
}
