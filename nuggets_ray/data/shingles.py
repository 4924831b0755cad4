"""The word 5-grams of a text, by which texts are nearly the same."""

import re
import unicodedata

SHINGLE_WORDS = 5
# scripts without spaces between words: a character is a word, or a sentence would be one
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")

Shingles = frozenset[tuple[str, ...]]


def shingles(text: str) -> Shingles:
    """The word 5-grams of the text, in NFKC and without case or punctuation; a shorter text is one
    shingle, so that it is like its equals only."""
    normalised = unicodedata.normalize("NFKC", text).casefold()
    words = WORD.findall(normalised) or [normalised.strip()]
    if len(words) <= SHINGLE_WORDS:
        return frozenset([tuple(words)])
    return frozenset(zip(*(words[i:] for i in range(SHINGLE_WORDS)), strict=False))
