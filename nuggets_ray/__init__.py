"""Which of my instruction data is worth training on? Golden scores, from Python:

`read_examples` reads rows of any format, `score_rows` scores them in this process, `open_run` reads
what a job wrote. Each is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nuggets_ray.data.read import read_examples
    from nuggets_ray.run.open_run import open_run
    from nuggets_ray.score.library import score_rows

__all__ = ["open_run", "read_examples", "score_rows"]

_HOMES = {
    "open_run": "nuggets_ray.run.open_run",
    "read_examples": "nuggets_ray.data.read",
    "score_rows": "nuggets_ray.score.library",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
