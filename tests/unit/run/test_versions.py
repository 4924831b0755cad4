"""The versions that a run was made with."""

import platform
from importlib.metadata import version

from nuggets_ray.run.versions import versions


def test_they_are_those_that_are_installed() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["ray"] == version("ray") and found["nuggets_ray"]
