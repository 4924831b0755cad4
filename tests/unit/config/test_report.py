"""The keys of report.*: their defaults, and what they refuse."""

import pytest

from nuggets_ray.config.compose import load
from nuggets_ray.config.report import ReportConfig
from nuggets_ray.errors import UserError


def test_defaults() -> None:
    assert load([]).report == ReportConfig()
    assert load(["report.text=false", "report.num_rows=5"]).report == ReportConfig(
        text=False, num_rows=5
    )


@pytest.mark.parametrize("given", ["report.num_rows=0", "report.max_chars=0"])
def test_a_page_without_rows_or_texts_is_asked_for_by_name(given: str) -> None:
    with pytest.raises(UserError, match="must be at least 1"):
        load([given])
