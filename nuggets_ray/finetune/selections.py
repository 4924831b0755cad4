"""The selections that a pipeline makes beside the golden one, to compare with it and to train on,
and their names.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.select import default_name

FULL = "full"
"""In finetune.selections: every row of data.path."""
RANDOM = re.compile(r"random-(0|[1-9]\d*)(-tokens)?")
OTHERS = {
    "bottom": SelectConfig("top_k", by="golden_score", order="bottom"),
    "longest": SelectConfig("top_k", by="longest"),
    "shortest": SelectConfig("top_k", by="longest", order="bottom"),
}
SHARED = (
    *("prefix", "unique", "export", "replace"),
    *("min_answer_tokens", "max_answer_tokens"),
)
"""What the selections beside the golden one have in common with it: the same rows are eligible, but
they know neither quotas nor near-duplicates."""
ALWAYS = ("bottom", "longest", "random-0")


def check_names(select: SelectConfig, selections: Sequence[str]) -> None:
    """Raise UserError for a name among `selections` (finetune.selections) that a pipeline makes no
    selection for, and for a selection with the name of one that it makes beside it.
    """
    golden = select.name or default_name(select)
    if select.name and _is_reserved(golden):
        raise UserError(
            f"select.name={golden}: {job_command('pipeline')} makes another selection of that "
            "name, to compare with: give another"
        )
    for name in selections:
        if name != golden and not _is_reserved(name):
            raise UserError(
                f"finetune.selections={name}: {job_command('pipeline')} makes {golden}, "
                f"{', '.join(OTHERS)}, random-0, random-1, ..., random-0-tokens, ... (as many "
                f"answer tokens as {golden}) and {FULL} (every row): take those"
            )


def num_draws(selections: Sequence[str]) -> tuple[int, int]:
    """How many random draws are among these names: matched in rows, and matched in tokens."""
    drawn = [match for name in selections if (match := RANDOM.fullmatch(name))]
    num_in_tokens = sum(match[2] is not None for match in drawn)
    return len(drawn) - num_in_tokens, num_in_tokens


def _is_reserved(name: str) -> bool:
    return name in (FULL, *OTHERS) or RANDOM.fullmatch(name) is not None


def before_golden(select: SelectConfig) -> SelectConfig | None:
    """The selection that `select` is matched to, where a pipeline makes it (select.match_length):
    of as many rows, and made first.
    """
    drawn = RANDOM.fullmatch(select.match_length or "")
    other = OTHERS.get(select.match_length or "")
    if drawn and not drawn[2]:
        other = SelectConfig(by="random", draw=int(drawn[1]))
    if other is None:
        return None
    return _like(select, replace(other, rule=select.rule, k=select.k, fraction=select.fraction))


def _like(select: SelectConfig, other: SelectConfig) -> SelectConfig:
    """`other`, of the same eligible rows and written as `select` is."""
    return replace(other, **{key: getattr(select, key) for key in SHARED})


def beside_golden(
    select: SelectConfig, selections: Sequence[str], num_rows: int, mean_answer_tokens: float
) -> Iterator[SelectConfig]:
    """What stands beside the selection by `select`, of `num_rows` rows with so many answer tokens
    in the mean: as many of the bottom, longest and random rows, and what else `selections` names,
    each with as many rows, or as many answer tokens.
    """
    for name in dict.fromkeys([*ALWAYS, *selections]):
        other = OTHERS.get(name)
        if drawn := RANDOM.fullmatch(name):
            other = SelectConfig("top_k", by="random", draw=int(drawn[1]))
            if drawn[2]:
                tokens = round(num_rows * mean_answer_tokens)
                other = replace(other, rule="top_tokens", tokens=tokens)
        if other is None:
            continue
        if other.rule == "top_k":
            other = replace(other, k=num_rows)
        yield _like(select, other)
