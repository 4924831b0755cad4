"""A row as a person reads it: its turns, cut to a length, safe for a terminal.

A row of any format is shown as the turns that are scored; one that holds no example, or of a run
that does not say its format, as its JSON.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence

from nuggets_ray import io
from nuggets_ray.data.examples import Rules
from nuggets_ray.data.values import SkipRow
from nuggets_ray.run.job_configs import read_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What could move a cursor, colour a screen or turn the direction of a line."""
TEMPLATE_MARKS = re.compile(r"<\|[\w ]+\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>")


def row_rules(out_dir: str) -> Rules | None:
    """How the rows of a run are read; None where it does not say (any more)."""
    manifest, scored = read_manifest(out_dir), read_config(out_dir, "score")
    if manifest is None or "data_format" not in manifest:
        return None
    with io.telling_damage(RunFolder(out_dir).manifest):
        data = scored["data"] if scored else {"columns": {}}
        return Rules(manifest["data_format"], data["columns"], data.get("roles") or {})


def turns_of(row_json: bytes, rules: Rules | None) -> list[tuple[str, str]]:
    """(role, text) of each turn; [("row", JSON)] where there is no example."""
    row = json.loads(row_json)
    if rules is not None:
        try:
            return [(turn.role, turn.content) for turn in rules.parse(row).messages]
        except SkipRow:
            pass  # the run read it otherwise
    return [("row", json.dumps(row, ensure_ascii=False))]


def turns_line(turns: Sequence[tuple[str, str]], max_chars: int) -> str:
    """A row on one line: what is asked first -> what is answered last, each cut."""
    asked = next((text for role, text in turns if role != "system"), "")
    texts = [asked] if len(turns) == 1 else [asked, turns[-1][1]]
    return " -> ".join(one_line(text, max_chars) for text in texts)


def one_line(text: str, max_chars: int) -> str:
    """A text on one line, cut to `max_chars`."""
    return cut(" ".join(printable(text).split()), max_chars)


def cut(text: str, max_chars: int) -> str:
    """A text of at most `max_chars` characters; one that is cut ends in an ellipsis."""
    return text if len(text) <= max_chars else text[: max_chars - 1].rstrip() + "…"


def printable(text: str) -> str:
    """A text with nothing in it that a terminal would obey, but for line breaks and tabs."""
    return CONTROLS.sub("\ufffd", text.replace("\r\n", "\n"))


def distinct_texts(texts: Sequence[str]) -> list[str]:
    """Rendered texts without a template's lines, which are those that a fifth of them share, and
    its marks, such as <|im_end|>. A text that is nothing else stays whole.
    """
    lines = [TEMPLATE_MARKS.sub("", text).splitlines() for text in texts]
    counts = Counter(line for one in lines for line in set(one))
    too_many = max(2, len(texts) / 5)
    rest = ["\n".join(line for line in one if counts[line] < too_many).strip() for one in lines]
    return [short or text for short, text in zip(rest, texts, strict=True)]
