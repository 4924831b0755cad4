"""AlpacaEval's 805 instructions, known by their text: its data goes by their numbers, which say
nothing in a file that is reordered or lacks rows.

alpaca_eval_instructions.txt holds the SHA-256 of each (6 bytes, hex), in AlpacaEval's own order.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

FILE = "alpaca_eval_instructions.txt"


def instruction_numbers(instructions: Sequence[str]) -> list[int | None]:
    """Each one's number from 0 among AlpacaEval's; None for one that is none of them."""
    numbers = _numbers()
    return [numbers.get(_short_hash(instruction)) for instruction in instructions]


def num_instructions() -> int:
    """How many AlpacaEval has."""
    return len(_numbers())


@cache
def _numbers() -> dict[str, int]:
    text = files(__package__).joinpath(FILE).read_text(encoding="ascii")
    return {line: number for number, line in enumerate(text.split())}


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.strip().encode("utf-8")).hexdigest()[:12]
