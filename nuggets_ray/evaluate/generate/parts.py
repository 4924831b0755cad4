"""The answers of a model on disk: parts of JSON lines under evaluation/answers/<model>/, each
written once, whole.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict

from nuggets_ray import io
from nuggets_ray.evaluate.generate.answer import Answer


def write_answers(folder: str, keys: Sequence[str], answers: Sequence[Answer | str]) -> None:
    """Write a block as one part: an answer a key, or the reason why there is none."""
    rows = [
        {"key": key, **({"refused": a} if isinstance(a, str) else asdict(a))}
        for key, a in zip(keys, answers, strict=True)
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    io.write_bytes(io.join(folder, f"part-{uuid.uuid4().hex}.jsonl"), text.encode())


def read_answers(folder: str) -> dict[str, Answer | str]:
    """{key: answer, or the reason why there is none} of all parts."""
    answers: dict[str, Answer | str] = {}
    for part in io.list_files(folder, ".jsonl"):
        for line in io.read_bytes(part).splitlines():  # str's would break at U+2028 too
            row = json.loads(line)
            key, refused = row.pop("key"), row.pop("refused", None)
            answers[key] = Answer(**row) if refused is None else refused
    return answers
