"""What `select.by` asks: one signal, or a blend {signal: weight, ...}; each is one of ours, or a
column of the file select.scores_path.
"""

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches

from nuggets_ray.errors import UserError
from nuggets_ray.signals.names import SIGNALS

OF_FILE = "file."
"""In front of a column of the file that has the name of a signal of ours."""
By = str | Mapping[str, float]


def weights_of(by: By) -> dict[str, float]:
    """{signal: weight}; of one signal its weight is 1."""
    return {by: 1.0} if isinstance(by, str) else {name: float(w) for name, w in by.items()}


def is_blend(by: By) -> bool:
    """Whether rows are ranked by a blend of ranks."""
    return not isinstance(by, str)


def column_of_file(name: str) -> str | None:
    """The column of select.scores_path that a name means; None of a signal of ours."""
    if name.startswith(OF_FILE):
        return name.removeprefix(OF_FILE)
    return None if name in SIGNALS else name


def check_by(by: object, scores_path: str | None) -> None:
    """Raise UserError for what is no signal, and for weights that weigh nothing."""
    if isinstance(by, str):
        _check_name(by, scores_path)
        return
    example = "as in 'select.by={golden_score: 1, ifd: 0.5}'"
    if not isinstance(by, Mapping) or not by:
        raise UserError(f"select.by={by}: give a signal, or weights of several, {example}")
    for name, weight in by.items():
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not math.isfinite(weight) or weight == 0:
            raise UserError(
                f"select.by: the weight of {name} is {weight}: give a number but 0, {example}"
            )
        if name == "random":
            raise UserError("select.by: random has no numbers to blend: leave it out")
        _check_name(str(name), scores_path)


def _check_name(name: str, scores_path: str | None) -> None:
    if column_of_file(name) is None or scores_path is not None:
        return
    if name.startswith(OF_FILE):
        raise UserError(f"select.by={name}: give the file too, as select.scores_path=FILE")
    meant = next(iter(get_close_matches(name.lower(), SIGNALS, n=1)), "")
    raise UserError(
        f"select.by={name}: take one of {', '.join(SIGNALS)}, or a column of the file "
        f"select.scores_path{f'; did you mean select.by={meant}?' if meant else ''}"
    )


def name_of(by: By) -> str:
    """What a selection by this is called: a name for a folder."""
    if is_blend(by):
        return "blend"
    assert isinstance(by, str)
    known = {"golden_score": "golden", "posterior_score": "posterior"}
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", column_of_file(by) or by).strip("-._")
    return known.get(by, plain or "column")
