"""Draws do not depend on what else is there."""

from nuggets_ray.signals.random import random_order

IDS = [f"id-{n}" for n in range(30)]


def test_draws_and_seeds_differ_and_a_draw_does_not() -> None:
    order = random_order(IDS, 0, 0).tolist()
    assert sorted(order) == list(range(30)) and order != list(range(30))
    assert random_order(IDS, 0, 0).tolist() == order
    assert random_order(IDS, 0, 1).tolist() != order
    assert random_order(IDS, 1, 0).tolist() != order


def test_the_order_of_two_rows_is_the_same_whatever_else_is_there() -> None:
    whole = [IDS[index] for index in random_order(IDS, 0, 0)]
    some = [IDS[:7][index] for index in random_order(IDS[:7], 0, 0)]
    assert [one for one in whole if one in some] == some
