"""The error of a mistake that the user can mend."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
"""What a terminal would obey or no stream can write: a message may quote a row or an argument."""
MAX_CHARS = 4000
"""A longer sentence loses its middle: what is wrong and the way out stand at its ends."""


class UserError(Exception):
    """A mistake the user can mend: one sentence that names the key, the value and the way out. Exit
    code 2.
    """

    def __init__(self, text: str) -> None:
        text = OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)
        if len(text) > MAX_CHARS:
            text = f"{text[: MAX_CHARS // 2]} ... {text[5 - MAX_CHARS // 2 :]}"
        super().__init__(text)


@contextmanager
def named_as(names: Mapping[str, str]) -> Iterator[None]:
    """Within it, the sentence of a UserError says `names[key]` where it would say `key`: for a
    caller in Python, who gives arguments and no keys.
    """
    try:
        yield
    except UserError as error:
        keys = sorted(names, key=len, reverse=True)
        pattern = rf"(?<![\w.])(?:{'|'.join(map(re.escape, keys))})(?!\w|\.\w)"
        text = re.sub(pattern, lambda key: names[key[0]], str(error))
        raise type(error)(text) from error.__cause__
