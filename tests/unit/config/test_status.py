"""The keys of status.*."""

import pytest

from nuggets_ray.config.compose import load
from nuggets_ray.errors import UserError


def test_values_and_range() -> None:
    config = load(["out_dir=/r", "status.watch=true", "status.every_s=5"], ["status"])
    assert (config.status.watch, config.status.json, config.status.every_s) == (True, False, 5.0)
    with pytest.raises(UserError, match=r"status\.every_s=0\.0: must be at least 0\.1"):
        load(["out_dir=/r", "status.every_s=0"], ["status"])
