"""The versions that a run or a model was made with."""

import platform
from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """Versions of the interpreter and of the libraries that a score depends on."""
    names = ("torch", "transformers", "ray", "pyarrow")
    try:
        own = version("nuggets_ray")
    except PackageNotFoundError:
        own = "source tree"  # as in a submitted job, where it was never installed
    python = platform.python_version()
    return {"nuggets_ray": own, "python": python, **{name: version(name) for name in names}}
