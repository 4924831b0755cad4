"""A set of prompts or held-out rows: what it is called, what it holds, and that it stays so.

One name is one set, limit and way to answer, so that nothing under evaluation/ is overwritten by
what is unlike it.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt
from nuggets_ray.evaluate.results import Results

KEY = "evaluate.name"
WORDS = {
    **{"prompts": "evaluate.prompts_path", "reference": "evaluate.reference_path"},
    **{"held_out": "file of held-out rows", "rows": "set of rows"},
}


def set_name(evaluate: EvaluateConfig) -> str | None:
    """evaluate.name, else the name of the file of prompts or held-out rows, with evaluate.limit
    where that is given. None for the run's own held-out rows, all of them, and for tasks.
    """
    if evaluate.name is not None:
        return evaluate.name
    paths = {"likelihood": evaluate.held_out_path, "lm_eval": None}
    path = paths.get(evaluate.method, evaluate.prompts_path)
    stem = os.path.basename((path or "").rstrip("/")).partition(".")[0]
    parts = [file_name(stem)] if path else []
    if evaluate.limit is not None:
        parts.append(f"first-{evaluate.limit}")
    return "-".join(filter(None, parts)) or ("prompts" if path else None)


def check_name(name: str | None) -> None:
    """Raise UserError for an evaluate.name that cannot be the name of a folder."""
    if name is not None and (name != file_name(name) or name.strip(".") == ""):
        raise UserError(
            f"{KEY}={name}: a folder is named after it: give letters, digits, '.', '_' and '-', as "
            f"in {KEY}={file_name(name) or 'vicuna'}"
        )


def file_name(text: str) -> str:
    """The text as a name of a file, such as a judge's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


def rows_sha256(prompts: Sequence[BenchmarkPrompt]) -> str:
    """Of what is asked: ids, turns and categories, in order."""
    rows = [[prompt.prompt_id, list(prompt.turns), prompt.category] for prompt in prompts]
    return hashlib.sha256(json.dumps(rows).encode("utf-8")).hexdigest()


def check_same_set(
    results: Results,
    benchmark: str,
    evaluate: EvaluateConfig,
    seed: int,
    data: Mapping[str, str],
    generation: Mapping[str, Any] | None = None,
) -> None:
    """Raise UserError where the results hold the same benchmark and name with another limit or
    seed, other data or another way to answer. `data` {name: sha256}; what one of the two lacks is
    not compared.
    """
    name = set_name(evaluate)
    now = _told(evaluate.limit, seed, data, generation)
    for result in results.results:
        if (result.benchmark, result.name) != (benchmark, name) or result.seed is None:
            continue  # None: of an earlier version, which did not say
        before = _told(result.limit, result.seed, result.data, result.generation)
        for key in before.keys() & now.keys():
            if before[key] != now[key]:
                raise UserError(
                    f"{KEY}={name or 'null'}: {benchmark} was evaluated under this name with "
                    f"another {key} ({before[key]}, now {now[key]}), and nothing is overwritten: "
                    f"give the new one a name of its own, as in {KEY}={name or benchmark}-2"
                )


def _told(
    limit: int | None,
    seed: int,
    data: Mapping[str, str],
    generation: Mapping[str, Any] | None,
) -> dict[str, str]:
    told = {"evaluate.limit": str(limit), "seed": str(seed)}
    told |= {WORDS.get(name, name): sha256[:12] for name, sha256 in data.items()}
    told |= {name: json.dumps(value, sort_keys=True) for name, value in (generation or {}).items()}
    return told
