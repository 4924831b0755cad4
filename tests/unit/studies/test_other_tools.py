"""What other tools cost, each with where that is known from."""

import re

from nuggets_ray.studies.other_tools import OTHER_TOOLS


def test_each_figure_has_a_source() -> None:
    for tool in OTHER_TOOLS:
        assert re.search(r"arXiv \d{4}\.\d{5}|bench log", tool.known), tool.name
        assert tool.times_full is None or tool.pool_passes is None
    assert len({tool.name for tool in OTHER_TOOLS}) == len(OTHER_TOOLS)


def test_less_is_twelve_passes_and_its_warm_up() -> None:
    (less,) = [tool for tool in OTHER_TOOLS if tool.name == "LESS"]
    # 4 checkpoints x (forward + backward), and 4 epochs of the same on a twentieth
    assert less.pool_passes == 12 + 0.6
