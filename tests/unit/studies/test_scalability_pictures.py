"""The pictures of costs: what costs nothing has no place on a logarithmic axis."""

from nuggets_ray.studies.scalability import FULL, MEASURED, MODELLED, CostPoint
from nuggets_ray.studies.scalability_pictures import passes_picture, time_picture

POINTS = [
    CostPoint(FULL, 100, MEASURED, 1e4, 6, 100, 0.0),
    CostPoint(FULL, 10_000, MODELLED, 1e6, 6, 1e4, 0.0),
    CostPoint(FULL, 100_000, MODELLED, 1e7, 6, 1e5, 0.0),
    CostPoint("rds alone", 10_000, MODELLED, 1e5, 1, 1e3, 0.0),
]
FREE = CostPoint("longest, random", 10_000, MODELLED, 0, 0, 0, 0.0)


def test_a_selector_that_costs_nothing_is_not_drawn() -> None:
    assert time_picture([*POINTS, FREE]).png == time_picture(POINTS).png
    assert passes_picture([*POINTS, FREE], 10_000, {}).png == passes_picture(POINTS, 10_000, {}).png


def test_measured_points_are_drawn_beside_the_model() -> None:
    without = [point for point in POINTS if point.source != MEASURED]
    assert time_picture(POINTS).png != time_picture(without).png


def test_other_tools_stand_beside_ours() -> None:
    beside = passes_picture(POINTS, 10_000, {"LESS": 12.6})
    assert beside.png != passes_picture(POINTS, 10_000, {}).png
