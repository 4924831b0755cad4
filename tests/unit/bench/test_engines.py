"""What cannot be measured is refused before anything loads."""

import pytest

from nuggets_ray.bench.engines import bench
from nuggets_ray.config.bench import BenchConfig
from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError


def test_a_case_that_is_not_known_is_named() -> None:
    with pytest.raises(UserError, match="bench.cases: cut-9 is not known"):
        bench(Config(bench=BenchConfig(cases=["cut-9"])))
