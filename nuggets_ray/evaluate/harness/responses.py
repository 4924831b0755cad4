"""What a model responded to the harness's requests, on disk: parts of JSON lines, each written
once, whole. A request that is there is never put again, whichever task it belongs to.
"""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from nuggets_ray import io
from nuggets_ray.evaluate.harness.model import Arguments, Response


def request_keys(model_key: str, kind: str, arguments: Sequence[Arguments], seed: int) -> list[str]:
    """SHA-256 (16 bytes, hex) of all that decides each response; equal requests have equal keys.

    Of sampled texts each has a key of its own, by `seed` and by how often the same was asked
    before: a task may ask for several draws.
    """
    asked: Counter[str] = Counter()
    keys = []
    for one in arguments:
        text = json.dumps([model_key, kind, *one], sort_keys=True, ensure_ascii=False)
        if kind == "generate_until" and _is_sampled(one[1]):
            asked[text] += 1
            text = f"{text} {seed} {asked[text]}"
        keys.append(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32])
    return keys


def _is_sampled(gen_kwargs: dict[str, Any]) -> bool:
    """As the harness has it: by do_sample, and where that is not said by a temperature."""
    do_sample = gen_kwargs.get("do_sample")
    return bool(gen_kwargs.get("temperature", 0.0)) if do_sample is None else bool(do_sample)


def write_responses(folder: str, keys: Sequence[str], responses: Sequence[Response]) -> None:
    """Write a block as one part."""
    rows = zip(keys, responses, strict=True)
    lines = [json.dumps({"key": key, "response": one}) + "\n" for key, one in rows]
    io.write_bytes(io.join(folder, f"part-{uuid.uuid4().hex}.jsonl"), "".join(lines).encode())


def read_responses(folder: str, keys: Collection[str]) -> dict[str, Response]:
    """{key: response} of all parts, of those among `keys`."""
    responses: dict[str, Response] = {}
    for part in io.list_files(folder, ".jsonl"):
        for line in io.read_bytes(part).splitlines():
            row = json.loads(line)
            if row["key"] in keys:
                one = row["response"]
                responses[row["key"]] = tuple(one) if isinstance(one, list) else one
    return responses
